// Has `closestorm learn` find out how real libraries come back, each before a server of its protocol, and writes docs/clients.md:
//
//   node learn.js CLOSESTORM FOLDER PRESETS.toml [LIBRARY…]      AT_ONCE=8 libraries side by side
//   node learn.js CLOSESTORM FOLDER PRESETS.toml --table         only the table
//
// FOLDER/LIBRARY/learn.json has what was learnt. Without names all libraries are asked; with names those, and the table is made of all that are there.
const { execFileSync, spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const table = require('./table.js');

// Our preset of each; how many outages and processes, where waits are random or long.
const LIBRARIES = {
  'ws-loop': { preset: 'fixed-3s', package: 'ws' },
  'reconnecting-websocket': { preset: 'reconnecting-websocket', outages: 24, instances: 12 },
  partysocket: { preset: 'partysocket' },
  'robust-websocket': { preset: 'robust-websocket' },
  'socket.io': { preset: 'socket.io-client', package: 'socket.io-client', outages: 48, instances: 12 },
  phoenix: { preset: 'phoenix-1.8' },
  'phoenix-1.7': { preset: 'phoenix-1.7' },
  supabase: { preset: 'supabase-realtime', package: '@supabase/realtime-js' },
  signalr: { preset: 'signalr', package: '@microsoft/signalr' },
  actioncable: { preset: 'actioncable', package: '@rails/actioncable', outages: 16, instances: 8 },
  'graphql-ws': { preset: 'graphql-ws', outages: 36, instances: 12 },
  'subscriptions-transport-ws': { preset: 'subscriptions-transport-ws', outages: 64 },
  centrifuge: { preset: 'centrifuge-js', outages: 48, instances: 12 },
  pusher: { preset: 'pusher-js-node', package: 'pusher-js' },
  nats: { preset: 'nats', package: '@nats-io/nats-core', outages: 36, instances: 12 },
  mqtt: { preset: 'mqtt.js' },
  sockjs: { preset: 'sockjs-client', package: 'sockjs-client' },
  slack: { preset: 'slack-socket-mode', package: '@slack/socket-mode' },
  discord: { preset: 'discord.js', package: '@discordjs/ws' },
  ably: { preset: 'ably', outages: 16, instances: 16 },
  'y-websocket': { preset: 'y-websocket-3' },
  'y-websocket-2': { preset: 'y-websocket-2' },
  trpc: { preset: 'trpc-wslink', package: '@trpc/client' },
  apollo: { preset: 'apollo-client-graphqlwslink', package: '@apollo/client', outages: 24, instances: 12 },
  'rpc-websockets': {},
  stompjs: { package: '@stomp/stompjs' },
  'python-websockets': { preset: 'python-websockets', package: 'websockets', python: true, outages: 16 },
  'python-socketio': { package: 'python-socketio', python: true, outages: 32, instances: 8 },
  gql: { package: 'gql', python: true },
};

const [closestorm, folder, presets, ...names] = process.argv.slice(2);
const wanted = names[0] === '--table' ? [] : names.length ? names : Object.keys(LIBRARIES);
const strange = wanted.filter(name => !LIBRARIES[name]);
if (!presets || strange.length) {
  console.error(`node learn.js CLOSESTORM FOLDER PRESETS.toml [LIBRARY…]\nlibraries: ${Object.keys(LIBRARIES).join(' ')}`);
  process.exit(2);
}
// Refused attempts of each outage.
const ATTEMPTS = 5;
const program = execFileSync(closestorm, ['--version'], { encoding: 'utf8' }).trim() + (process.env.COMMIT ? ` (commit ${process.env.COMMIT})` : '');
// Until the tables are printed: also where nothing is left to wait for.
process.exitCode = 1;
const python = path.join(__dirname, '..', 'clients', 'bin', 'python');

function version({ package: name, python: ofPython }, library) {
  if (!ofPython) return require(`./node_modules/${name ?? library}/package.json`).version;
  const [, found] = new RegExp(`^${name}==(\\S+)`, 'm').exec(fs.readFileSync(path.join(__dirname, 'versions.txt'), 'utf8')) ?? [];
  return found;
}

function learn(library) {
  const { outages = 12, instances = 6, python: ofPython } = LIBRARIES[library];
  return new Promise(done => {
    const out = path.join(folder, library);
    fs.rmSync(out, { recursive: true, force: true });
    const note = error => {
      const date = new Date().toISOString().slice(0, 10);
      const meta = { version: version(LIBRARIES[library], library), date, program, outages, instances, attempts: ATTEMPTS, error };
      fs.mkdirSync(out, { recursive: true });
      fs.writeFileSync(path.join(out, 'meta.json'), JSON.stringify(meta));
      done();
    };
    const double = spawn('node', [path.join(__dirname, 'double.js'), library], { stdio: ['pipe', 'pipe', 'inherit'] });
    const early = code => note(`its server ended with exit code ${code}`);
    double.once('exit', early);
    double.stdout.once('data', port => {
      double.off('exit', early);
      const client = ofPython ? [python, path.join(__dirname, 'client.py')] : ['node', path.join(__dirname, 'client.js')];
      const how = ['--outages', outages, '--instances', instances, '--attempts', ATTEMPTS].map(String);
      const args = ['learn', '--quiet', '--format', 'json', '--upstream', `ws://127.0.0.1:${String(port).trim()}`, '--out', out, ...how];
      const from = performance.now();
      const learning = spawn(closestorm, [...args, '--', ...client, library, '{url}'], { stdio: ['ignore', 'ignore', 'pipe'] });
      let said = '';
      learning.stderr.on('data', text => (said += text));
      learning.on('close', code => {
        double.stdin.end();
        console.error(`${library}: exit code ${code} after ${Math.round((performance.now() - from) / 1000)} s ${said}`);
        note(said.trim());
      });
    });
  });
}

async function main() {
  fs.mkdirSync(folder, { recursive: true });
  const queue = [...wanted];
  // Processes that all start at once take long to start.
  const lane = async number => {
    await new Promise(done => setTimeout(done, 8000 * number));
    for (let library; (library = queue.shift()); ) await learn(library);
  };
  await Promise.all(Array.from({ length: Number(process.env.AT_ONCE ?? 8) }, (_, number) => lane(number)));
  process.stdout.write(table(LIBRARIES, folder, fs.readFileSync(presets, 'utf8')));
  process.exitCode = 0;
}

main();
