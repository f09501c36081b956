// One library as the client of `closestorm learn`, with its defaults; what it tells its user is printed.
//
//   node client.js LIBRARY URL
const http = require('node:http');
const [library, url] = process.argv.slice(2);
const start = require('./clients.js')[library];
const speaks = require('./servers.js')[library] ?? {};
const port = Number(new URL(url).port);
const tell = text => console.log(text);
// Some libraries throw when a socket is closed while it connects.
process.on('uncaughtException', error => tell(`throws ${error.message}`));
process.on('unhandledRejection', error => tell(`rejects ${error?.message ?? error}`));
// What holds no timer of its own must not end here.
setInterval(() => {}, 1 << 30);
if (speaks.api) {
  const api = http.createServer((request, response) => speaks.api(response, port));
  api.listen(0, '127.0.0.1', () => start({ url, port, api: api.address().port, tell }));
} else {
  start({ url, port, api: port, tell });
}
