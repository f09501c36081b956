// Toxiproxy's client of npm, unchanged, against a control API: arguments are its URL and the port of an upstream that echoes.
"use strict";
const net = require("node:net");
const assert = require("node:assert");
const { Toxiproxy, ToxiproxyError } = require("toxiproxy-node-client");

const [url, port] = process.argv.slice(2);
const upstream = `127.0.0.1:${port}`;

/** Sends a text and gives what came back, or how the connection ended, and after how many milliseconds. */
function echo(listen, text) {
  return new Promise((resolve) => {
    const begun = performance.now();
    const [host, at] = [listen.slice(0, listen.lastIndexOf(":")), Number(listen.slice(listen.lastIndexOf(":") + 1))];
    const socket = net.connect(at, host, () => socket.write(text));
    const done = (what) => {
      socket.destroy();
      resolve({ what, ms: performance.now() - begun });
    };
    socket.on("data", (data) => done(String(data)));
    socket.on("end", () => done("end"));
    socket.on("error", (error) => done(error.code));
  });
}

async function main() {
  const toxiproxy = new Toxiproxy(url);
  assert.match(await toxiproxy.getVersion(), /"version": "2\.12\.0"/);
  const proxy = await toxiproxy.createProxy({ name: "node", listen: "127.0.0.1:0", upstream });
  assert.deepStrictEqual([proxy.name, proxy.upstream, proxy.enabled], ["node", upstream, true]);
  assert.strictEqual((await echo(proxy.listen, "hello")).what, "hello");

  const latency = await proxy.addToxic({ type: "latency", name: "slow", stream: "downstream", toxicity: 1, attributes: { latency: 300, jitter: 0 } });
  assert.ok((await echo(proxy.listen, "late")).ms >= 299);
  latency.attributes.latency = 600;
  await latency.update({ stream: "downstream", toxicity: 1, attributes: { latency: 600, jitter: 0 } });
  assert.ok((await echo(proxy.listen, "later")).ms >= 599);
  await (await proxy.getToxic("slow")).remove();
  assert.ok((await echo(proxy.listen, "soon")).ms < 299);

  await proxy.addToxic({ type: "reset_peer", stream: "downstream", toxicity: 1, attributes: { timeout: 0 } });
  assert.strictEqual((await echo(proxy.listen, "x")).what, "ECONNRESET");
  await toxiproxy.reset();
  await proxy.addToxic({ type: "limit_data", stream: "downstream", toxicity: 1, attributes: { bytes: 3 } });
  assert.strictEqual((await echo(proxy.listen, "hello")).what, "hel");
  await toxiproxy.reset();

  await proxy.update({ enabled: false, listen: proxy.listen, upstream });
  assert.strictEqual((await echo(proxy.listen, "x")).what, "ECONNREFUSED");
  await proxy.update({ enabled: true, listen: proxy.listen, upstream });
  assert.strictEqual((await echo(proxy.listen, "again")).what, "again");

  const made = await toxiproxy.populate([{ name: "a", listen: "127.0.0.1:0", upstream }, { name: "b", listen: "127.0.0.1:0", upstream }]);
  assert.deepStrictEqual(Object.keys(made).sort(), ["a", "b"]);
  assert.deepStrictEqual(Object.keys(await toxiproxy.getAll()).sort(), ["a", "b", "node"]);
  await assert.rejects(toxiproxy.get("missing"), (error) => error instanceof ToxiproxyError && /404/.test(error.message));
  await assert.rejects(toxiproxy.createProxy({ name: "a", listen: "127.0.0.1:0", upstream }), /409/);
  for (const one of Object.values(await toxiproxy.getAll())) await one.remove();
  assert.deepStrictEqual(Object.keys(await toxiproxy.getAll()), []);
  console.log("ok");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
