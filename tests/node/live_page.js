// The page of a run under way in a browser: what it shows meanwhile and at the end, whether anything goes wrong in it, whom it asks, and what it
// takes of memory. For browser.js.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { shown } = require('./report_page.js');

// On stdin: {"url", "every_ms"}; screenshots into `folder`. Says its memory every so often.
module.exports = async function livePage(browser, folder, say) {
    const { url, every_ms } = JSON.parse(fs.readFileSync(0, 'utf8'));
    const wrong = [];
    const requests = [];
    browser.heard = ({ method, params }) => {
        if (method === 'Runtime.exceptionThrown') wrong.push(params.exceptionDetails.exception?.description || params.exceptionDetails.text);
        if (method === 'Runtime.consoleAPICalled') wrong.push(params.args.map((arg) => arg.value || arg.description).join(' '));
        if (method === 'Log.entryAdded') wrong.push(params.entry.text);
        if (method === 'Network.requestWillBeSent' && !params.request.url.startsWith('data:')) requests.push(params.request.url.replace(url, ''));
    };
    const page = await browser.page('about:blank#first');
    for (const domain of ['Runtime', 'Log', 'Network', 'HeapProfiler']) await page.send(domain + '.enable');
    const size = (width) => page.send('Emulation.setDeviceMetricsOverride', { width, height: 900, deviceScaleFactor: 1, mobile: width < 500 });
    const scheme = (value) => page.send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value }] });
    const shoot = async (name) => {
        const height = await page.evaluate('document.documentElement.scrollHeight');
        const clip = { x: 0, y: 0, width: await page.evaluate('innerWidth'), height: Math.min(height, 8000), scale: 1 };
        const { data } = await page.send('Page.captureScreenshot', { format: 'png', captureBeyondViewport: true, clip });
        fs.writeFileSync(path.join(folder, name + '.png'), Buffer.from(data, 'base64'));
    };
    const key = async (name, text) => {
        await page.send('Input.dispatchKeyEvent', { type: 'keyDown', key: name, code: name, text, windowsVirtualKeyCode: name === 'Tab' ? 9 : 0 });
        await page.send('Input.dispatchKeyEvent', { type: 'keyUp', key: name, code: name });
    };
    const heap = async () => {
        await page.send('HeapProfiler.collectGarbage');
        return (await page.send('Runtime.getHeapUsage')).usedSize;
    };
    await size(1100);
    await page.send('Page.navigate', { url });
    await page.until('document.readyState === "complete" && document.querySelectorAll("figure.alive .u-wrap").length > 0');
    // Counts what is drawn, and how often.
    await page.evaluate(`refreshed.push(() => { window.drawn = (window.drawn || 0) + 1; }); window.began = performance.now()`);
    const figure = (what) => `Number([...document.querySelectorAll('.figures div')].find((one) => one.querySelector('dt').textContent === ${JSON.stringify(what)}).querySelector('dd').textContent.replaceAll(',', ''))`;
    // The storm: clients are away, and the page says so.
    await page.until(`${figure('disconnected now')} > 0`);
    const storm = { status: await page.evaluate('document.getElementById("status").textContent'), away: await page.evaluate(figure('disconnected now')),
        fault: await page.evaluate('document.querySelector("#faults tbody td:last-child").textContent') };
    // By keyboard: everything that can be worked is reached, and what is read off and zoomed stays while new data comes.
    const stops = new Set();
    await page.evaluate('document.body.focus()');
    for (let n = 0; n < 24; n += 1) {
        await key('Tab');
        stops.add(await page.evaluate('document.activeElement.className || document.activeElement.tagName.toLowerCase()'));
    }
    await page.evaluate('document.querySelector("figure[data-chart=timeline] .chart").focus()');
    for (let n = 0; n < 3; n += 1) await key('ArrowRight');
    await key('+', '+');
    const reach = () => page.evaluate('groups.get("time").map((u) => [Math.round(u.scales.x.min), Math.round(u.scales.x.max)])');
    const zoomed = await reach();
    const before = await page.evaluate('window.drawn');
    await page.until(`window.drawn >= ${before} + 5`);
    say({ storm, stops: [...stops], zoomed, still: await reach(), tip: await page.evaluate('document.querySelector("figure[data-chart=timeline] .tip:not([hidden])").textContent'),
        focused: await page.evaluate('document.activeElement.className') });
    await key('0', '0');
    for (const width of [1100, 400]) {
        await size(width);
        for (const colours of ['light', 'dark']) {
            await scheme(colours);
            await new Promise((resolve) => setTimeout(resolve, 250));
            await shoot(`live-${width}-${colours}`);
        }
        say({ width, scrolls: await page.evaluate('document.documentElement.scrollWidth') });
    }
    await size(1100);
    await scheme('light');
    say({ rate: await page.evaluate('window.drawn / (performance.now() - window.began) * 1000') });
    const ended = () => page.evaluate('document.getElementById("status") === null');
    let last = 0;
    while (!(await ended())) {
        if (Date.now() - last >= every_ms) {
            last = Date.now();
            say({ heap: await heap(), status: await page.evaluate('document.getElementById("status")?.textContent') });
        }
        await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await page.until('document.querySelectorAll("figure.alive .u-wrap").length > 0');
    say({ ...(await shown(page)), title: await page.evaluate('document.title'), data: await page.evaluate('document.getElementById("data").textContent') });
    await page.evaluate('document.querySelector("figure[data-chart=reconnect] .chart").focus()');
    for (let n = 0; n < 20; n += 1) await key('ArrowRight');
    say({ percentile: await page.evaluate('document.querySelector("figure[data-chart=reconnect] .tip:not([hidden])").textContent'), end_heap: await heap() });
    await shoot('live-ended');
    // A moment in which something could still go wrong: the server is gone by now.
    await new Promise((resolve) => setTimeout(resolve, 4000));
    say({ wrong, requests });
};
