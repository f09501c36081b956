// A headless Chromium, steered over its DevTools protocol: no package but `ws`.
//
//   node browser.js given PORT       the given page against `closestorm serve`: what its handlers report for each path
//   node browser.js console PORT DIR the console of GET /: what it shows, screenshots into DIR
//   node browser.js report 0 DIR     the page of a run, on stdin {"file"}: see report_page.js
//   node browser.js live 0 DIR       the page of a run under way, on stdin {"url", "ms"}: see live_page.js
//   node browser.js ways PORT        JSON lines on stdin: {"id", "url", "opens", "close", "ms"}; what the browser tells of each URL in that
//                                  time, from its opening on, where it opens
//
// One JSON line a result on stdout. CHROMIUM says which program.
'use strict';
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const readline = require('node:readline');
const WS = require('ws');

const [what, port, folder] = process.argv.slice(2);
const say = (line) => process.stdout.write(JSON.stringify(line) + '\n');
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

class Browser {
    static async start() {
        const browser = new Browser();
        browser.profile = fs.mkdtempSync(path.join(os.tmpdir(), 'closestorm-chromium-'));
        const flags = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', '--remote-debugging-port=0',
            '--disable-background-networking', '--hide-scrollbars', `--user-data-dir=${browser.profile}`, 'about:blank'];
        browser.child = spawn(process.env.CHROMIUM || 'chromium', flags, { stdio: ['ignore', 'ignore', 'pipe'] });
        const url = await new Promise((resolve, reject) => {
            let text = '';
            browser.child.on('error', reject);
            browser.child.on('exit', () => reject(new Error('Chromium ended: ' + text)));
            browser.child.stderr.on('data', (chunk) => {
                text += chunk;
                const found = /DevTools listening on (ws:\S+)/.exec(text);
                if (found) resolve(found[1]);
            });
        });
        browser.socket = new WS(url, { maxPayload: 1 << 28 });
        await new Promise((resolve) => browser.socket.on('open', resolve));
        browser.next = 0;
        browser.waiting = new Map();
        browser.socket.on('message', (data) => {
            const message = JSON.parse(data);
            const waiting = browser.waiting.get(message.id);
            if (!waiting) {
                if (browser.heard) browser.heard(message);
                return;
            }
            browser.waiting.delete(message.id);
            if (message.error) waiting.reject(new Error(JSON.stringify(message.error)));
            else waiting.resolve(message.result);
        });
        return browser;
    }

    send(method, params = {}, sessionId = undefined) {
        const id = ++this.next;
        return new Promise((resolve, reject) => {
            this.waiting.set(id, { resolve, reject });
            this.socket.send(JSON.stringify({ id, method, params, sessionId }));
        });
    }

    async version() {
        return (await this.send('Browser.getVersion')).product.replace('HeadlessChrome/', '').replace('Chrome/', '');
    }

    async page(url) {
        const { targetId } = await this.send('Target.createTarget', { url: 'about:blank' });
        const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
        const page = { send: (method, params) => this.send(method, params, sessionId) };
        page.evaluate = async (expression) => {
            const { result, exceptionDetails } = await page.send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
            if (exceptionDetails) throw new Error(JSON.stringify(exceptionDetails));
            return result.value;
        };
        page.until = async (expression) => {
            for (let tries = 0; tries < 600; tries += 1) {
                if (await page.evaluate(expression)) return;
                await sleep(50);
            }
            throw new Error('never true: ' + expression);
        };
        page.close = () => this.send('Target.closeTarget', { targetId });
        await page.send('Page.enable');
        await page.send('Page.navigate', { url });
        await page.until('document.readyState === "complete" && location.href !== "about:blank"');
        return page;
    }

    async end() {
        this.child.removeAllListeners('exit');
        const ended = new Promise((resolve) => this.child.on('exit', resolve));
        await Promise.race([this.send('Browser.close').catch(() => {}), sleep(2000)]);
        await Promise.race([ended, sleep(3000).then(() => this.child.kill('SIGKILL'))]);
        fs.rmSync(this.profile, { recursive: true, force: true, maxRetries: 5 });
    }
}

// The browser code of the given page. Changed: the URL, `let` for the socket that it assigns again, and the handlers attached again to the
// new socket. What it writes to the console is what is looked at.
function givenPage(url, closes) {
    return `<!doctype html><meta charset="utf-8"><title>given page</title><script>
'use strict';
const told = [];
const began = performance.now();
const note = (line) => told.push({ at_ms: performance.now() - began, ...line });
for (const name of ['log', 'error']) {
    const before = console[name];
    console[name] = (...words) => { note({ console: words.map((word) => (word instanceof Event ? word.type : String(word))).join(' ').trimEnd() }); before.apply(console, words); };
}

let socket = new WebSocket(${JSON.stringify(url)});

function attach(socket) {
    // Event handler for when the connection is opened
    socket.onopen = function(event) {
        console.log('Connection established!');
        note({ event: 'open' });
        ${closes ? `
        // Closing the connection after sending a message
        socket.send('Hello, server!');
        socket.close(1000, 'Normal closure'); // 1000 indicates a normal closure` : ''}
    };

    // Event handler for receiving messages from the server
    socket.onmessage = function(event) {
        console.log('Message from server:', event.data);
    };

    // Event handler for errors
    socket.onerror = function(error) {
        console.error('WebSocket error:', error);
        note({ event: 'error' });
    };

    socket.onclose = function(event) {
        note({ event: 'close', code: event.code, reason: event.reason, clean: event.wasClean });
        console.log('Connection closed');
        console.log('Close code:', event.code);
        console.log('Close reason:', event.reason);

        // Handle different close codes
        if (event.code === 1000) {
            console.log('Connection closed normally');
        } else if (event.code === 1006) {
            console.log('Connection closed abnormally');
        } else {
            console.log('Unexpected closure with code:', event.code);
        }

        console.log('Connection closed. Attempting to reconnect...');

        // Retry the connection after a delay (e.g., 3 seconds)
        setTimeout(function() {
            newSocket();
            console.log('Reconnected to the WebSocket server');
        }, 3000);
    };
}

function newSocket() {
    socket = new WebSocket(${JSON.stringify(url)});
    attach(socket);
}

attach(socket);
</script>`;
}

async function given(browser) {
    const pages = [];
    for (const line of JSON.parse(fs.readFileSync(0, 'utf8'))) {
        const file = path.join(browser.profile, `given-${pages.length}.html`);
        fs.writeFileSync(file, givenPage(`ws://127.0.0.1:${port}${line.path}`, line.closes));
        pages.push({ ...line, page: await browser.page('file://' + file) });
    }
    // A second open is the reconnect of the page.
    await Promise.all(pages.map(({ page, opens }) => page.until(`told.filter((line) => line.event === 'open').length >= ${opens} && told.some((line) => line.event === 'close')`)));
    for (const { path, page } of pages) say({ path, told: await page.evaluate('told') });
}

async function consoleOf(browser) {
    const page = await browser.page(`http://127.0.0.1:${port}/`);
    const size = (width, height) => page.send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: width < 500 });
    const scheme = (value) => page.send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value }] });
    const shoot = async (name) => {
        const { data } = await page.send('Page.captureScreenshot', { format: 'png' });
        fs.writeFileSync(path.join(folder, name + '.png'), Buffer.from(data, 'base64'));
    };
    const key = async (key, code, text) => {
        await page.send('Input.dispatchKeyEvent', { type: 'keyDown', key, code, text, windowsVirtualKeyCode: code === 'Enter' ? 13 : code === 'Tab' ? 9 : 0 });
        await page.send('Input.dispatchKeyEvent', { type: 'keyUp', key, code });
    };
    const lines = (list) => page.evaluate(`Array.from(document.querySelectorAll('#${list} .what'), (line) => line.textContent)`);
    const type = async (words) => {
        await page.evaluate(`document.getElementById('url').select()`);
        await page.send('Input.insertText', { text: words });
    };
    await size(1280, 900);
    for (const colours of ['light', 'dark']) {
        await scheme(colours);
        await shoot(`${colours}-before`);
        // By keyboard alone: into the address, Enter.
        await page.evaluate(`document.getElementById('url').focus()`);
        await type(`ws://127.0.0.1:${port}/message/hello/wait/200ms/close/1011?reason=oops`);
        await key('Enter', 'Enter', '\r');
        await page.until(`document.querySelector('#wire').textContent.includes('end sent')`);
        await shoot(`${colours}-closed`);
        say({ shown: colours, browser: await lines('browser'), wire: await lines('wire') });
    }
    for (const path of ['/message/hello/wait/100ms/truncate_frame?end=rst', '/upgrade_status', '/drop_fin']) {
        await page.evaluate(`document.getElementById('url').focus()`);
        await type(`ws://127.0.0.1:${port}${path}`);
        await key('Enter', 'Enter', '\r');
        await page.until(`/end (sent|there)/.test(document.querySelector('#wire').textContent) && document.querySelector('#browser').textContent.includes('close ')`);
        say({ shown: path, browser: await lines('browser'), wire: await lines('wire') });
    }
    await shoot('dark-dropped');
    // A step's own button, found by its words.
    await page.evaluate(`{ const filter = document.getElementById('filter'); filter.focus(); filter.value = 'drop_rst'; filter.dispatchEvent(new Event('input')); }`);
    say({ found: await page.evaluate(`Array.from(document.querySelectorAll('.step'), (step) => step).filter((step) => step.offsetParent).map((step) => step.querySelector('.name').textContent)`) });
    await page.evaluate(`{ const filter = document.getElementById('filter'); filter.value = ''; filter.dispatchEvent(new Event('input')); }`);
    // Everything can be reached by Tab, and shows that it is.
    const stops = new Set();
    await page.evaluate(`document.getElementById('url').focus()`);
    for (let count = 0; count < 8; count += 1) {
        const [name, outline] = await page.evaluate(`[document.activeElement.id || document.activeElement.className, getComputedStyle(document.activeElement).outlineStyle]`);
        if (outline !== 'none') stops.add(name);
        await key('Tab', 'Tab');
    }
    say({ stops: [...stops] });
    await size(400, 800);
    for (const colours of ['light', 'dark']) {
        await scheme(colours);
        await page.evaluate('scrollTo(0, 0)');
        await shoot(`${colours}-400`);
        await page.evaluate(`document.getElementById('steps-title').scrollIntoView()`);
        await shoot(`${colours}-400-steps`);
        say({ width: 400, scrolls: await page.evaluate('document.documentElement.scrollWidth') });
    }
    await size(1280, 900);
    await page.evaluate(`document.getElementById('steps-title').scrollIntoView()`);
    await shoot('dark-steps');
    await scheme('light');
    await shoot('light-steps');
}

async function ways(browser) {
    const page = await browser.page(`http://127.0.0.1:${port}/`);
    const all = [];
    for await (const line of readline.createInterface({ input: process.stdin })) {
        const asked = JSON.parse(line);
        all.push(page.evaluate(`new Promise((resolve) => {
            const told = [];
            const socket = new WebSocket(${JSON.stringify(asked.url)});
            const watch = () => setTimeout(() => resolve(told.slice()), ${asked.ms});
            if (!${Boolean(asked.opens)}) watch();
            socket.onopen = () => {
                told.push({ told: 'open' });
                if (${Boolean(asked.close)}) socket.close(1000, 'done');
                if (${Boolean(asked.opens)}) watch();
            };
            socket.onerror = () => told.push({ told: 'error' });
            socket.onclose = (event) => told.push({ told: 'close', code: event.code, text: event.reason, clean: event.wasClean });
        })`).then((told) => say({ id: asked.id, told })));
        // With more than ten that wait for their opening handshake, Chromium makes new ones wait for seconds.
        await sleep(100);
    }
    await Promise.race([Promise.all(all), sleep(60_000).then(() => { throw new Error('a URL that was to open did not'); })]);
    // Whoever reads has a moment to ask the server while the sockets are still there.
    await sleep(3000);
}

(async () => {
    const browser = await Browser.start();
    try {
        say({ version: await browser.version() });
        if (what === 'given') await given(browser);
        else if (what === 'console') await consoleOf(browser);
        else if (what === 'report') await require('./report_page.js')(browser, folder, say);
        else if (what === 'live') await require('./live_page.js')(browser, folder, say);
        else await ways(browser);
    } finally {
        await browser.end();
    }
    process.exit(0);
})().catch((error) => {
    console.error(error);
    process.exit(1);
});
