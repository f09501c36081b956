// When a real client library attempts to connect, from the sockets of this process:
//
//   node measure.js LIBRARY SCENE SECONDS [U]      U: what Math.random gives; left out, it is left alone
//
// A line of JSON: offsets of all attempts in ms (from the loss where there is one), and from one to the next. Names of libraries are in
// clients.js, what their servers say in servers.js. Scenes:
//   lost      the server speaks the library's protocol for a second, then it is gone and the port refuses
//   first     the port refuses from the start
//   mute      TCP is accepted, and nothing is ever answered
//   open-mute the WebSocket opens, and nothing is ever said
//   shut      each WebSocket opens and is closed with 1013 (or CODE) after HOLD ms, both from the environment
//   cut       the same without a Close frame
const channel = require('node:diagnostics_channel');
const http = require('node:http');
const net = require('node:net');
const clients = require('./clients.js');
const { answer, follow, frame } = require('./frames.js');
const servers = require('./servers.js');

const [library, scene, seconds, u] = process.argv.slice(2);
const start = clients[library];
const scenes = ['lost', 'first', 'mute', 'open-mute', 'shut', 'cut'];
if (!start || !scenes.includes(scene) || !(Number(seconds) > 0)) {
  console.error(`node measure.js LIBRARY SCENE SECONDS [U]\nlibraries: ${Object.keys(clients).join(' ')}\nscenes: ${scenes.join(' ')}`);
  process.exit(2);
}
if (u !== undefined) Math.random = () => Number(u);

const speaks = servers[library] ?? {};
const begun = performance.now();
const now = () => Math.round(performance.now() - begun);
const attempts = [];
const told = [];
const open = new Set();
const tell = text => told.push(`${now()} ${text}`);
channel.subscribe('net.client.socket', () => attempts.push(now()));
// Some libraries throw when a socket is closed while it connects.
process.on('uncaughtException', error => tell(`throws ${error.message}`));
process.on('unhandledRejection', error => tell(`rejects ${error?.message ?? error}`));

function upgraded(socket) {
  tell('101');
  const code = Number(process.env.CODE ?? 1013);
  const after = act => setTimeout(act, Number(process.env.HOLD ?? 0));
  if (scene === 'shut') after(() => socket.end(frame(Buffer.from([code >> 8, code & 255]), 8)));
  else if (scene === 'cut') after(() => socket.destroy());
  else if (scene === 'lost') speaks.open?.(socket, frame);
}

function accepted(socket) {
  open.add(socket);
  socket.on('error', () => {}).on('close', () => open.delete(socket));
  if (scene === 'mute') return;
  if (speaks.raw) return speaks.raw(socket, scene);
  follow(socket, speaks, () => upgraded(socket), frames => scene === 'lost' && answer(socket, speaks, frames));
}

const listening = server => new Promise(done => server.listen(0, '127.0.0.1', () => done(server.address().port)));

async function main() {
  const server = net.createServer(accepted);
  const port = await listening(server);
  if (scene === 'first') await new Promise(done => server.close(done));
  // Some ask another server first, which stays.
  const api = speaks.api ? await listening(http.createServer((request, response) => speaks.api(response, port))) : port;
  let from = now();
  start({ url: `ws://127.0.0.1:${port}`, port, api, tell });
  if (scene === 'lost') {
    setTimeout(() => {
      from = now();
      server.close();
      open.forEach(socket => socket.destroy());
    }, 1000);
  }
  setTimeout(() => {
    const gaps = attempts.slice(1).map((at, index) => at - attempts[index]);
    console.log(JSON.stringify({ library, scene, date: new Date().toISOString(), node: process.version, at_ms: attempts.map(at => at - from), gaps_ms: gaps, told }));
    process.exit(0);
  }, Number(seconds) * 1000);
}

main();
