// The page of a run in a browser: what it shows, whether anything goes wrong in it, whether it asks anybody for anything. For browser.js.
'use strict';
const fs = require('node:fs');
const path = require('node:path');

// What a page with a report shows.
const shown = async (page) => ({
    lead: await page.evaluate('document.querySelector(".lead").textContent'),
    images: await page.evaluate('document.images.length'),
    alive: await page.evaluate('[...document.querySelectorAll("figure.alive")].map((one) => one.dataset.chart)'),
    figures: await page.evaluate('Object.fromEntries([...document.querySelectorAll(".figures div")].map((one) => [one.querySelector("dt").textContent, one.querySelector("dd").textContent]))'),
    matrix: await page.evaluate(`(() => {
        const heads = [...document.querySelectorAll('.matrix thead tr:last-child th')].slice(2).map((head) => head.textContent);
        const rows = [...document.querySelectorAll('.matrix tbody tr')].map((row) => [...row.querySelectorAll('td')].slice(1).map((cell) => cell.textContent));
        const split = [...document.querySelectorAll('.matrix thead tr:first-child th')][0].colSpan;
        const sum = (n) => rows.reduce((all, row) => all + Number(row[n].replaceAll(',', '') || 0), 0);
        return heads.slice(0, split).map((head, n) => [head, sum(n)]);
    })()`),
    // What the charts are drawn from.
    drawn: await page.evaluate(`(() => {
        const data = JSON.parse(document.getElementById('data').textContent);
        const sum = (list) => list.reduce((a, b) => a + b, 0);
        const codes = data.closes.codes.map((code, n) => [code, sum(data.closes.cells.filter((cell) => cell[2] === n).map((cell) => cell[3]))]);
        return { attempts: sum(data.cohorts.map((cohort) => sum(cohort.attempts))), open: sum(data.cohorts.map((cohort) => cohort.open[cohort.open.length - 1])),
            codes, outages: data.curves[0].outages, back: data.curves[0].back, p50_us: timeOf(data.curves[0], 0.5), p99_us: timeOf(data.curves[0], 0.99) };
    })()`),
});

// On stdin: {"file"}; screenshots into `folder`.
module.exports = async function reportPage(browser, folder, say) {
    const { file } = JSON.parse(fs.readFileSync(0, 'utf8'));
    const wrong = [];
    const requests = [];
    browser.heard = ({ method, params }) => {
        if (method === 'Runtime.exceptionThrown') wrong.push(params.exceptionDetails.exception?.description || params.exceptionDetails.text);
        if (method === 'Runtime.consoleAPICalled') wrong.push(params.args.map((arg) => arg.value || arg.description).join(' '));
        if (method === 'Log.entryAdded') wrong.push(params.entry.text);
        if (method === 'Network.requestWillBeSent' && params.request.url !== 'file://' + file) requests.push(params.request.url);
    };
    const page = await browser.page('about:blank#first');
    for (const domain of ['Runtime', 'Log', 'Network']) await page.send(domain + '.enable');
    const size = (width) => page.send('Emulation.setDeviceMetricsOverride', { width, height: 900, deviceScaleFactor: 1, mobile: width < 500 });
    const scheme = (value) => page.send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value }] });
    const shoot = async (name) => {
        const height = await page.evaluate('document.documentElement.scrollHeight');
        const clip = { x: 0, y: 0, width: await page.evaluate('innerWidth'), height: Math.min(height, 8000), scale: 1 };
        const { data } = await page.send('Page.captureScreenshot', { format: 'png', captureBeyondViewport: true, clip });
        fs.writeFileSync(path.join(folder, name + '.png'), Buffer.from(data, 'base64'));
    };
    const key = async (name, text) => {
        await page.send('Input.dispatchKeyEvent', { type: 'keyDown', key: name, code: name, text });
        await page.send('Input.dispatchKeyEvent', { type: 'keyUp', key: name, code: name });
    };
    await size(1100);
    await page.send('Page.navigate', { url: 'file://' + file });
    await page.until('document.readyState === "complete" && document.querySelectorAll("figure.alive .u-wrap").length > 0');
    say(await shown(page));
    // By keyboard: read off, zoom, and back.
    const reach = () => page.evaluate('groups.get("time").map((u) => Math.round(u.scales.x.max - u.scales.x.min))');
    const before = await reach();
    await page.evaluate('document.querySelector("figure[data-chart=timeline] .chart").focus()');
    for (let n = 0; n < 20; n += 1) await key('ArrowRight');
    const tip = await page.evaluate('document.querySelector("figure[data-chart=timeline] .tip:not([hidden])").textContent');
    await key('+', '+');
    const near = await reach();
    await key('0', '0');
    await page.evaluate('document.querySelector("figure[data-chart=reconnect] .chart").focus()');
    for (let n = 0; n < 20; n += 1) await key('ArrowRight');
    say({ tip, before, near, after: await reach(), percentile: await page.evaluate('document.querySelector("figure[data-chart=reconnect] .tip:not([hidden])").textContent') });
    // A cause leads to its codes and examples; a cohort can be left out.
    await page.evaluate('document.querySelector(".matrix a").click()');
    const cause = await page.evaluate('(() => { const one = document.querySelector(".causes details"); return { open: one.open, examples: one.querySelectorAll(".examples li").length }; })()');
    await page.evaluate('document.querySelector(".chips input").click()');
    say({ cause, lines: await page.evaluate('[...document.querySelectorAll("figure[data-chart=timeline] .key")][0].textContent') });
    await page.evaluate('document.querySelector(".chips input").click()');
    for (const width of [1100, 400]) {
        await size(width);
        for (const colours of ['light', 'dark']) {
            await scheme(colours);
            await page.evaluate('new Promise((resolve) => setTimeout(resolve, 200))');
            await shoot(`report-${width}-${colours}`);
        }
        say({ width, scrolls: await page.evaluate('document.documentElement.scrollWidth') });
    }
    say({ wrong, requests });
    // Without a script it is still all there.
    await page.send('Emulation.setScriptExecutionDisabled', { value: true });
    await page.send('Page.reload');
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await page.send('Emulation.setScriptExecutionDisabled', { value: false });
    say({ plain: await page.evaluate('({ drawn: [...document.querySelectorAll("figure svg")].filter((one) => one.getBoundingClientRect().width > 0).length, alive: document.querySelectorAll("figure.alive").length, tables: document.querySelectorAll("table").length })') });
};
module.exports.shown = shown;
