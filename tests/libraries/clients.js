// How each library is started: with its defaults, but for what says where the server is and that it is to reconnect at all.
const WebSocket = () => require('ws').WebSocket;

function phoenix(name) {
  return ({ url, tell }) => {
    const { Socket } = require(name);
    const socket = new Socket(`${url}/socket`, { transport: WebSocket() });
    socket.onOpen(() => tell('open'));
    socket.onClose(event => tell(`close ${event?.code}`));
    socket.connect();
  };
}

function yWebSocket(name) {
  return ({ url, tell }) => {
    const { WebsocketProvider } = require(name);
    const provider = new WebsocketProvider(url, 'room', new (require('yjs').Doc)(), { WebSocketPolyfill: WebSocket(), disableBc: true });
    provider.on('status', ({ status }) => tell(status));
  };
}

function graphqlWs(options) {
  return ({ url, tell }) => {
    const client = require('graphql-ws').createClient({ url, webSocketImpl: WebSocket(), ...options });
    const error = why => tell(`error ${why.code ?? why.message ?? why}`);
    client.subscribe({ query: 'subscription { a }' }, { next() {}, error, complete: () => tell('complete') });
  };
}

function slack({ api, tell }) {
  const { SocketModeClient } = require('@slack/socket-mode');
  const none = () => {};
  const logger = { debug: none, info: none, warn: none, error: none, setLevel: none, getLevel: () => 'error', setName: none };
  const client = new SocketModeClient({ appToken: 'xapp-1', logger, clientOptions: { slackApiUrl: `http://127.0.0.1:${api}/api/` } });
  client.on('connected', () => tell('connected'));
  client.start().catch(error => tell(`start fails: ${error.message}`));
}

module.exports = {
  ably({ port, api, tell }) {
    const host = '127.0.0.1';
    const options = { realtimeHost: host, restHost: host, port, tls: false, fallbackHosts: [], useBinaryProtocol: false, logLevel: 0 };
    const client = new (require('ably').Realtime)({ key: 'a.b:c', connectivityCheckUrl: `http://${host}:${api}/`, ...options });
    client.connection.on(({ previous, current }) => tell(`${previous} > ${current}`));
  },
  actioncable({ url }) {
    // What it wants of a browser.
    const link = () => ({ protocol: 'ws:' });
    globalThis.document = { addEventListener() {}, removeEventListener() {}, visibilityState: 'visible', createElement: link, head: { querySelector: () => null } };
    Object.assign(globalThis, { addEventListener() {}, removeEventListener() {}, self: globalThis, window: globalThis });
    const { adapters, createConsumer } = require('@rails/actioncable');
    adapters.WebSocket = WebSocket();
    createConsumer(`${url}/cable`).connect();
  },
  apollo({ url, tell }) {
    globalThis.WebSocket = WebSocket();
    const { ApolloClient, InMemoryCache, gql } = require('@apollo/client');
    const { GraphQLWsLink } = require('@apollo/client/link/subscriptions');
    const link = new GraphQLWsLink(require('graphql-ws').createClient({ url, webSocketImpl: WebSocket() }));
    const seen = { next: ({ error }) => tell(`next ${error?.message ?? ''}`), error: why => tell(`error ${why.message}`), complete: () => tell('complete') };
    new ApolloClient({ link, cache: new InMemoryCache() }).subscribe({ query: gql`subscription { a }` }).subscribe(seen);
  },
  // An operation over HTTP, each try on a connection of its own.
  'apollo-retrylink'({ port, tell }) {
    const { ApolloClient, ApolloLink, InMemoryCache, gql } = require('@apollo/client');
    const { HttpLink } = require('@apollo/client/link/http');
    const { RetryLink } = require('@apollo/client/link/retry');
    const get = done => require('node:http').get({ host: '127.0.0.1', port, agent: false }, done);
    const fetch = () => new Promise((done, fail) => get(() => done(new Response('{"data":{"a":1}}'))).on('error', fail));
    const link = ApolloLink.from([new RetryLink(), new HttpLink({ uri: '/', fetch })]);
    const client = new ApolloClient({ link, cache: new InMemoryCache() });
    client.query({ query: gql`{ a }` }).then(() => tell('done'), error => tell(`error ${error.message}`));
  },
  centrifuge({ url, tell }) {
    const client = new (require('centrifuge').Centrifuge)(url, { websocket: WebSocket() });
    client.on('connected', () => tell('connected')).on('disconnected', ({ code }) => tell(`disconnected ${code}`));
    client.connect();
  },
  discord({ url, tell }) {
    const gateway = async () => ({ url, shards: 1, session_start_limit: { total: 1000, remaining: 1000, reset_after: 1, max_concurrency: 1 } });
    // Its server does not know the address of learn before it, at which sessions are to be resumed.
    let session = null;
    const sessions = { retrieveSessionInfo: () => session, updateSessionInfo: (_, info) => (session = info && { ...info, resumeURL: url }) };
    const options = { token: 't', intents: 0, shardCount: 1, fetchGatewayInformation: gateway, rest: { get: gateway }, ...sessions };
    const manager = new (require('@discordjs/ws').WebSocketManager)(options);
    manager.on('error', () => {});
    manager.connect().then(() => tell('connected'), error => tell(`fails: ${error.message}`));
  },
  'graphql-ws': graphqlWs({}),
  'graphql-ws-retry-all': graphqlWs({ shouldRetry: () => true }),
  grpc({ port, tell }) {
    const grpc = require('@grpc/grpc-js');
    const channel = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure()).getChannel();
    const watch = () => {
      const state = channel.getConnectivityState(true);
      tell(grpc.connectivityState[state]);
      channel.watchConnectivityState(state, Infinity, watch);
    };
    watch();
  },
  mqtt({ url, tell }) {
    require('mqtt').connect(url).on('connect', () => tell('connect')).on('error', error => tell(`error ${error.message}`));
  },
  // Without waitOnFirstConnect it gives up a first connection that fails.
  nats({ url, tell }) {
    globalThis.WebSocket = WebSocket();
    const connected = require('@nats-io/nats-core').wsconnect({ servers: url, waitOnFirstConnect: Boolean(process.env.WAIT) });
    connected.then(connection => connection.closed().then(why => tell(`closed ${why?.message}`)), error => tell(`fails: ${error.message}`));
  },
  partysocket({ url }) {
    new (require('partysocket/ws').default)(url, [], { WebSocket: WebSocket() });
  },
  phoenix: phoenix('phoenix'),
  'phoenix-1.7': phoenix('phoenix-1.7'),
  pusher({ port, tell }) {
    const options = { cluster: 'c', wsHost: '127.0.0.1', wsPort: port, forceTLS: false, enabledTransports: ['ws'], enableStats: false };
    new (require('pusher-js'))('key', options).connection.bind('state_change', ({ previous, current }) => tell(`${previous} > ${current}`));
  },
  'reconnecting-websocket'({ url }) {
    new (require('reconnecting-websocket'))(url, [], { WebSocket: WebSocket() });
  },
  'robust-websocket'({ url }) {
    // What it wants of a browser.
    Object.assign(globalThis, { WebSocket: WebSocket(), addEventListener() {}, removeEventListener() {}, window: globalThis, navigator: { onLine: true } });
    globalThis.Event ??= class {};
    globalThis.document ??= { createEvent: () => ({ initCustomEvent() {} }) };
    globalThis.CustomEvent ??= class {};
    new (require('robust-websocket'))(url);
  },
  'rpc-websockets'({ url, tell }) {
    const client = new (require('rpc-websockets').Client)(url);
    client.on('open', () => tell('open'));
    client.on('error', () => {});
  },
  signalr({ port, tell }) {
    const { HttpTransportType, HubConnectionBuilder, LogLevel } = require('@microsoft/signalr');
    const options = { skipNegotiation: true, transport: HttpTransportType.WebSockets };
    const hub = new HubConnectionBuilder().withUrl(`http://127.0.0.1:${port}/hub`, options).withAutomaticReconnect().configureLogging(LogLevel.None).build();
    hub.onreconnecting(() => tell('reconnecting'));
    hub.onclose(() => tell('closed'));
    hub.start().then(() => tell('started'), error => tell(`start fails: ${error.message}`));
  },
  slack,
  'slack-http-down': slack,
  'socket.io'({ port, tell }) {
    require('socket.io-client').io(`http://127.0.0.1:${port}`, { transports: ['websocket'] }).on('connect', () => tell('connect'));
  },
  sockjs({ port, tell }) {
    const socket = new (require('sockjs-client'))(`http://127.0.0.1:${port}/echo`, null, { transports: ['websocket'] });
    socket.onopen = () => tell('open');
    socket.onclose = ({ code, reason }) => tell(`close ${code} ${reason}`);
  },
  stompjs({ url, tell }) {
    globalThis.WebSocket = WebSocket();
    const { Client } = require('@stomp/stompjs');
    new Client({ brokerURL: url, onConnect: () => tell('connect') }).activate();
  },
  'subscriptions-transport-ws'({ url }) {
    new (require('subscriptions-transport-ws').SubscriptionClient)(url, { reconnect: true }, WebSocket());
  },
  supabase({ url }) {
    new (require('@supabase/realtime-js').RealtimeClient)(`${url}/realtime`, { transport: WebSocket(), params: { apikey: 'k' } }).connect();
  },
  trpc({ url, tell }) {
    require('@trpc/client').createWSClient({ url, WebSocket: WebSocket(), onOpen: () => tell('open'), onClose: () => tell('close') });
  },
  // No library: the loop that the page of closing-a-connection has, with an answer to every loss after three seconds.
  'ws-loop'({ url }) {
    const connect = () => {
      const socket = new (WebSocket())(url);
      socket.onerror = () => {};
      socket.onclose = () => setTimeout(connect, 3000);
    };
    connect();
  },
  'y-websocket': yWebSocket('y-websocket'),
  'y-websocket-2': yWebSocket('y-websocket-2'),
};
