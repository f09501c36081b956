// The charts of the page, a function for each figure. With more cohorts than LINES_MAX there is one line of all that are chosen, and a small
// chart for each below; cohorts whose lines would lie on one another share one.

const LINES_MAX = 5;
// Steps of axes that count.
const COUNTS = [1, 10, 100, 1e3, 1e4, 1e5, 1e6].flatMap((n) => [n, 2 * n, 5 * n]);

// The cohorts that are shown, by their place; all figures follow.
const chosen = new Set();
const followers = [];
const choose = (places) => {
    chosen.clear();
    places.forEach((place) => chosen.add(place));
    followers.forEach((follow) => follow());
};

function chips(data) {
    if (data.cohorts.length < 2) return [];
    const boxes = data.cohorts.map((cohort, place) => node('input', { type: 'checkbox', onchange: () => {
        choose(data.cohorts.map((_, n) => n).filter((n) => (n === place ? boxes[n].checked : chosen.has(n))));
    } }));
    followers.push(() => boxes.forEach((box, place) => { box.checked = chosen.has(place); }));
    const every = data.cohorts.map((_, place) => place);
    const labels = data.cohorts.map((cohort, place) => node('label', {}, boxes[place], cohort.name));
    return [node('fieldset', { class: 'chips' }, node('legend', {}, `Cohorts shown${data.cohorts.length > LINES_MAX ? `: up to ${LINES_MAX} have lines of their own, more are one line` : ''}`),
        node('button', { type: 'button', onclick: () => choose(every) }, 'All'), node('button', { type: 'button', onclick: () => choose([]) }, 'None'), ...labels)];
}

// Lines to draw: [{ name, places, colour, dash }]. `of(place)`: what the line shows of a cohort, null for nothing.
function lines(data, of) {
    const places = data.cohorts.map((_, place) => place).filter((place) => chosen.has(place) && of(place));
    const same = new Map();
    for (const place of places) {
        const key = JSON.stringify(of(place));
        same.set(key, [...(same.get(key) || []), place]);
    }
    if (same.size > LINES_MAX) return null;
    // A cohort keeps its colour as long as there are few.
    return [...same.values()].map((places, n) => {
        const look = data.cohorts.length <= LINES_MAX ? places[0] : n;
        const names = places.map((place) => data.cohorts[place].name);
        const name = names.length > 1 ? `each of ${names.length} cohorts alike: ${names.slice(0, 3).join(', ')}${names.length > 3 ? ', …' : ''}` : names[0];
        return { name, places, look };
    });
}
const together = (data) => ({ name: chosen.size === data.cohorts.length ? `all ${chosen.size} cohorts together` : `${chosen.size} cohorts together`, places: [...chosen], look: 0, sum: true });
const dressed = (line) => ({ colour: seriesColour(line.look), dash: DASHES[line.look % DASHES.length] });

const key = (entries) => node('ul', { class: 'key' }, ...entries.map(([mark, words]) => node('li', {}, mark, words)));

function timeAxis(data) {
    // A unit for the whole axis.
    const [unit, ms] = unitFor(data.end_ms);
    const incrs = [1, 2, 5, 10, 15, 20, 30, 60, 100, 120, 200, 300, 500, 600].flatMap((n) => [n * ms, (n * ms) / 100, (n * ms) / 10]).sort((a, b) => a - b);
    return { unit, axis: xAxis((value) => `${+(value / ms).toFixed(3)} ${unit}`, { incrs, space: 70 }) };
}
function timeScale(full) {
    return { time: false, range: (u, low, high) => (low === u.data[0][0] && high === u.data[0].at(-1) ? full : [low, high]) };
}

function timeline(place, data) {
    if (!data.step_ms || !data.cohorts.some((cohort) => cohort.open.length)) return false;
    const full = [0, data.end_ms];
    const group = 'time';
    const { unit, axis: bottom } = timeAxis(data);
    const merged = data.merged > 1 ? `; a point is ${data.merged} intervals: the last number of open clients, with a band down to the lowest` : '';
    const keys = node('div');
    const [openName, attemptsName] = [node('h3', {}, 'Open clients'), node('h3', {}, `Attempts begun per ${offset(data.step_ms)}`)];
    const [openAt, attemptsAt] = [node('div'), node('div')];
    place.append(...chips(data),
        tools(group, full, `Drag over a chart to zoom, double-click for the whole run. Time since ${data.since}; points every ${offset(data.step_ms)}${merged}.`),
        keys, openName, openAt, attemptsName, attemptsAt);
    // Times stand below each other.
    const wide = () => Math.max(4, widest([count(data.cohorts.reduce((all, cohort) => all + cohort.open.reduce((a, b) => Math.max(a, b), 0), 1))]));
    const left = (more) => yAxis(count, { incrs: COUNTS, size: 14 + 6.7 * wide(), ...more });
    const plugin = (named) => marksPlugin(data, named);
    const points = () => data.cohorts[0].open.length;
    // Of a run under way the last point is not over.
    const until = () => (data.live ? data.live.at_ms : data.end_ms);
    const ends = () => Array.from({ length: points() }, (_, n) => Math.max(n * data.step_ms, Math.min((n + 1) * data.step_ms, until())));
    const make = () => {
        const apart = lines(data, (one) => [data.cohorts[one].open, data.cohorts[one].attempts]);
        const all = apart || [together(data)];
        const sum = (places, series) => Array.from({ length: points() }, (_, n) => places.reduce((all, one) => all + (data.cohorts[one][series][n] || 0), 0));
        const [stops, begins] = [ends(), Array.from({ length: points() }, (_, n) => n * data.step_ms)];
        keys.replaceChildren(...(data.cohorts.length > 1 ? [all.length ? key(all.map((line) => [swatch(dressed(line).colour, dressed(line).dash), line.name])) : node('p', { class: 'note' }, 'No cohort is chosen.')] : []));
        const values = (line, series) => sum(line.sum ? line.places : line.places.slice(0, 1), series);
        const open = all.map((line) => [0, ...values(line, 'open')]);
        const low = data.merged > 1 ? all.map((line) => [0, ...values(line, 'low')]) : [];
        const attempts = all.map((line) => values(line, 'attempts'));
        const tip = (u) => {
            const n = around(u, data, points());
            const rows = all.map((line, i) => {
                const least = low.length && low[i][n + 1] < open[i][n + 1] ? ` (lowest ${count(low[i][n + 1])})` : '';
                return [swatch(dressed(line).colour, dressed(line).dash), `${data.cohorts.length > 1 ? line.name + ': ' : ''}${count(open[i][n + 1])} open${least}, ${counted(attempts[i][n], 'attempt')}`];
            });
            return { head: `${offset(n * data.step_ms)} to ${offset(stops[n])}`, rows };
        };
        const scales = (most) => ({ x: timeScale(full), y: { range: [0, Math.max(1, most)] } });
        const top = (rows) => rows.reduce((most, row) => row.reduce((a, b) => Math.max(a, b), most), 0) * 1.06;
        const strokes = all.map((line) => ({ stroke: () => dressed(line).colour, width: 2, dash: dressed(line).dash, points: { show: false } }));
        return { shape: JSON.stringify([all, wide()]), charts: [
            [openAt, { title: 'Open clients over time', height: 220, group, full, tip, scales: scales(top(open)), padding: [22, 18, 0, 0],
                axes: [bottom, left()],
                series: [{}, ...strokes, ...low.map(() => ({ stroke: 'transparent', points: { show: false } }))],
                bands: low.map((_, i) => ({ series: [i + 1, all.length + i + 1], fill: () => dressed(all[i]).colour + '40' })), plugins: [plugin(true)] }, [[0, ...stops], ...open, ...low]],
            [attemptsAt, { title: 'Attempts over time', height: 130, group, full, tip, scales: scales(top(attempts)), padding: [8, 18, 0, 0],
                axes: [bottom, left()],
                series: [{}, ...strokes.map((stroke, i) => ({ ...stroke, paths: uPlot.paths.stepped({ align: 1 }), width: 1.5, fill: all.length === 1 ? () => dressed(all[i]).colour + '55' : undefined }))],
                plugins: [plugin(false)] }, [[...begins, until()], ...attempts.map((row) => [...row, row[row.length - 1]])]],
        ] };
    };
    const draw = drawer(make);
    followers.push(() => draw());
    shownAgain.push(() => draw());
    refreshed.push(() => draw(true));
    const marks = node('ul', { class: 'marks' });
    place.append(marks);
    const name = () => marks.replaceChildren(...data.marks.filter((mark) => !mark.down).map((mark) => node('li', {}, node('b', {}, `${mark.number} `), mark.label)),
        ...data.marks.filter((mark) => mark.down).map((mark) => node('li', { class: 'down' }, `${mark.label} (grey)`)));
    name();
    refreshed.push(name);
    if (data.cohorts.length > LINES_MAX) {
        const most = () => data.cohorts.reduce((most, cohort) => cohort.open.reduce((a, b) => Math.max(a, b), most), 1);
        const scale = node('small');
        const say = () => { scale.textContent = `one scale: 0 to ${count(most())}`; };
        say();
        refreshed.push(say);
        place.append(node('h3', {}, 'Open clients of each cohort ', scale));
        multiples(place, data, data.cohorts.map((_, n) => n), (one) => ({
            data: [[0, ...ends()], [0, ...data.cohorts[one].open]], full, scales: { x: timeScale(full), y: { range: [0, most() * 1.06] } }, bottom, left: count, y: { incrs: COUNTS },
            tip: (u) => ({ head: offset(ends()[around(u, data, points())]), rows: [[null, `${count(data.cohorts[one].open[around(u, data, points())])} open`]] }),
            plugins: [plugin(false)],
        }), 'Open clients');
    }
    if (data.live || data.closes.cells.length) closes(place, data, full, bottom, left);
    return unit !== '';
}
const around = (u, data, points) => Math.max(0, Math.min(points - 1, Math.floor(u.posToVal(u.cursor.left, 'x') / data.step_ms)));

// A small chart for each cohort, all on one scale.
function multiples(place, data, places, of, title) {
    const grid = node('div', { class: 'multiples' });
    place.append(grid);
    const figures = places.map((one) => node('figure', {}, node('figcaption', {}, data.cohorts[one].name)));
    grid.append(...figures);
    const draw = drawer(() => ({ shape: '', charts: places.map((one, n) => {
        const { data: table, bottom, left, series, ...options } = of(one);
        const small = { ...bottom, space: 60, values: (u, splits) => bottom.values(u, splits) };
        return [figures[n], { title: `${title}, ${data.cohorts[one].name}`, height: 96, padding: [6, 18, 0, 0], axes: [small, yAxis(left, { space: 26, ...(options.y || {}) })],
            series: [{}, ...(series || [{ stroke: () => seriesColour(0), width: 2, points: { show: false } }])], ...options }, table];
    }) }));
    shownAgain.push(() => draw());
    refreshed.push(() => draw(true));
    draw();
}

function closes(place, data, full, bottom, left) {
    const { step_ms: step, side } = data.closes;
    const bars = Math.ceil(data.end_ms / step);
    const holder = node('div');
    const keys = node('div');
    place.append(node('h3', {}, `Closes per ${step === 1000 ? 'second' : offset(step)} by code `, node('small', {}, `as the ${side} app sees it`)), keys, holder);
    const draw = drawer(() => {
        const { codes, cells } = data.closes;
        const rows = codes.map(() => new Array(bars).fill(0));
        for (const [bar, cohort, code, n] of cells) if ((cohort === null || chosen.has(cohort)) && bar < bars) rows[code][bar] += n;
        const look = (n) => seriesColour(n);
        const used = codes.map((_, n) => n).filter((n) => rows[n].some((value) => value > 0));
        const total = (n) => rows[n].reduce((a, b) => a + b, 0);
        keys.replaceChildren(used.length ? key(used.map((n) => [swatch(look(n), null, true), `${codes[n]} (${count(total(n))})`])) : node('p', { class: 'note' }, data.live ? 'No connection has ended so far.' : 'No close of the cohorts that are chosen.'));
        // The first series is the sum of all, and is drawn first; the last is the lowest part.
        const sums = [];
        let below = new Array(bars).fill(0);
        for (const n of used) {
            below = below.map((value, bar) => value + rows[n][bar]);
            sums.unshift({ n, values: below.map((value, bar) => (value ? value : null)) });
        }
        const most = Math.max(1, ...below);
        return { shape: JSON.stringify([codes, used, left().size]), charts: [[holder, { title: `Closes by code as the ${side} app sees it`, height: 130, group: 'time', full, padding: [8, 18, 0, 0],
            scales: { x: timeScale(full), y: { range: [0, most * 1.06] } },
            axes: [bottom, left()],
            series: [{}, ...sums.map(({ n }) => ({ stroke: () => look(n), fill: () => look(n), width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [1, Infinity], align: 1, gap: 1 }) }))],
            tip: (u) => {
                const bar = Math.max(0, Math.min(bars - 1, Math.floor(u.posToVal(u.cursor.left, 'x') / step)));
                const there = used.filter((n) => rows[n][bar] > 0).reverse();
                return { head: `${offset(bar * step)} to ${offset(Math.min((bar + 1) * step, data.end_ms))}`,
                    rows: there.length ? there.map((n) => [swatch(look(n), null, true), `${codes[n]}: ${count(rows[n][bar])}`]) : [[null, 'no close']] };
            },
            plugins: [marksPlugin(data, false)] }, [Array.from({ length: bars }, (_, n) => n * step), ...sums.map(({ values }) => values)]]] };
    });
    followers.push(() => draw());
    shownAgain.push(() => draw());
    refreshed.push(() => draw(true));
}

// The share that was over by a time, and the time by which a share was over; null: not reached.
function shareBy(curve, us) {
    let [low, high] = [0, curve.steps.length];
    while (low < high) {
        const middle = (low + high) >> 1;
        if (curve.steps[middle][0] <= us) low = middle + 1;
        else high = middle;
    }
    return low ? curve.steps[low - 1][1] : 0;
}
const timeOf = (curve, share) => (curve.steps.find(([, reached]) => reached >= share - 1e-9) || [null])[0];
const reached = (curve) => (curve.steps.length ? curve.steps[curve.steps.length - 1][1] : 0);

function reconnect(place, data) {
    if (!data.curves.length) return false;
    const of = (one) => data.curves.find((curve) => curve.cohort === one);
    // Of a run under way there is one curve of all cohorts.
    const own = data.curves.some((curve) => curve.cohort !== null);
    const whole = () => data.curves.find((curve) => curve.cohort === null) || data.curves[0];
    let [least, most, wide] = [1, 1, 1];
    const measure = () => {
        least = Math.max(1, Math.min(...data.curves.flatMap((curve) => (curve.steps.length ? [curve.steps[0][0]] : [curve.until_us]))));
        most = Math.max(1, ...data.curves.map((curve) => Math.max(curve.until_us * (reached(curve) < 1 ? 1 : 0), curve.steps.length ? curve.steps[curve.steps.length - 1][0] : 0)));
        // As far as limits need, unless they are so far off that the curves would be a corner of the chart.
        wide = Math.max(most, ...data.limits.map(({ us }) => us).filter((us) => us <= 2.5 * most));
    };
    measure();
    let logarithmic = false;
    const keys = node('div');
    const holder = node('div');
    const toggle = node('button', { type: 'button', 'aria-pressed': 'false', onclick: () => {
        logarithmic = !logarithmic;
        toggle.setAttribute('aria-pressed', String(logarithmic));
        shownAgain.forEach((again) => again());
    } }, 'Logarithmic time');
    const how = data.live ? 'So far, of all outages: one that has not ended counts as not over, and times are rounded up to two digits.' : 'Kaplan–Meier: outages that did not end count until they were last seen.';
    place.append(...(own ? chips(data) : []), node('div', { class: 'tools' }, toggle, node('p', {}, how + ' Point at the chart for the share that is back by a time, and for the time of a percentile.')),
        keys, node('h3', {}, 'Share of outages that are over ', node('small', {}, 'by time since the fault')), holder);
    const words = (curve, share) => {
        const us = timeOf(curve, share);
        if (us === null && data.live) return 'not yet';
        if (us !== null && share > curve.supported + 1e-9) return `n/a (too few outages)`;
        return us === null ? `not reached in ${time(curve.until_us)}` : time(us);
    };
    const path = (curve) => {
        const steps = curve.steps.map(([us, share]) => [Math.max(us, least) / 1000, share]);
        const points = [[logarithmic ? (least / 1000) * 0.999 : 0, 0], ...steps];
        points.push([reached(curve) < 1 ? Math.max(curve.until_us, least) / 1000 : most / 1000, reached(curve)]);
        // Of equal times the last.
        const kept = points.filter(([at], n) => n + 1 === points.length || points[n + 1][0] > at);
        return [kept.map(([at]) => at), kept.map(([, share]) => share)];
    };
    const full = () => [logarithmic ? (least / 1000) * 0.999 : 0, (wide / 1000) * (logarithmic ? 1.25 : 1.04)];
    const options = (curves, look, small) => ({
        scales: { x: { time: false, distr: logarithmic ? 3 : 1, range: (u, low, high) => (low === u.data[0][0] && high === u.data[0].at(-1) ? full() : [low, high]) }, y: { range: [0, 1.04] } },
        series: [{}, ...curves.map((curve, n) => ({ stroke: () => look(n).colour, width: 2, dash: look(n).dash, points: { show: false }, spanGaps: true, paths: uPlot.paths.stepped({ align: 1 }) }))],
        over: (u) => { if (!small) drawLimits(u, data.limits); notReached(u, curves, look, small); },
    });
    // Round times of a logarithmic axis, as many as there is room for.
    const rounds = (u, i, from, to) => {
        const room = Math.max(2, Math.floor(u.bbox.width / devicePixelRatio / 64));
        const decades = Array.from({ length: 13 }, (_, n) => 10 ** (n - 3));
        const by = (digits) => decades.flatMap((ten) => digits.map((n) => n * ten)).filter((ms) => ms >= from && ms <= to);
        const fits = [[1, 2, 3, 4, 5, 6, 8], [1, 2, 5], [1]].map(by).find((all) => all.length <= room);
        return fits || by([1]).filter((_, n, all) => (all.length - 1 - n) % Math.ceil(all.length / room) === 0);
    };
    const timesBelow = () => {
        const [unit, length] = unitFor(full()[1]);
        return logarithmic ? xAxis((ms) => time(ms * 1000), { splits: rounds, filter: (u, splits) => splits }) : xAxis((ms) => `${+(ms / length).toFixed(3)} ${unit}`, { space: 72 });
    };
    const ticks = (small) => ({ splits: () => (small ? [0, 0.5, 1] : [0, 0.25, 0.5, 0.75, 0.9, 1]) });
    const draw = drawer(() => {
        measure();
        const apart = own && lines(data, (place) => (of(place) ? of(place).steps.concat([[of(place).until_us, of(place).outages]]) : null));
        const drawn = apart || [{ ...together(data), name: `all ${data.cohorts.length} cohorts together` }];
        const curves = apart ? apart.map((line) => of(line.places[0])) : [whole()];
        const look = (n) => dressed(drawn[n]);
        keys.replaceChildren(data.live && !whole().outages ? node('p', { class: 'note' }, 'No open connection was lost so far.') : curves.length ? key(curves.map((curve, n) => [swatch(look(n).colour, look(n).dash),
            `${data.cohorts.length > 1 ? drawn[n].name + ': ' : ''}n = ${count(curve.outages)}, p50 ${words(curve, 0.5)}, p90 ${words(curve, 0.9)}, p99 ${words(curve, 0.99)}`]))
            : node('p', { class: 'note' }, 'No cohort that is chosen had an outage.'));
        const axes = [timesBelow(),
            yAxis((share) => `${Math.round(share * 100)} %`, ticks(false))];
        return { shape: JSON.stringify([drawn, logarithmic, unitFor(full()[1])]), charts: [[holder, { title: 'Share of outages that are over, by time since the fault', height: 300, full: full(), padding: [12, 18, 0, 0], axes,
            ...options(curves, look, false),
            tip: (u) => {
                const us = u.posToVal(u.cursor.left, 'x') * 1000;
                const share = Math.max(0.01, Math.min(0.999, u.posToVal(Math.max(0, u.cursor.top), 'y')));
                const percentile = share > 0.99 ? 0.99 : Math.round(share * 100) / 100;
                const whose = (n) => (data.cohorts.length > 1 ? `${drawn[n].name}: ` : '');
                return { head: `back by ${time(Math.max(0, us))}`, rows: [...curves.map((curve, n) => [swatch(look(n).colour, look(n).dash), `${whose(n)}${us > curve.until_us && reached(curve) < 1 ? 'not watched so long' : percent(shareBy(curve, us))}`]),
                    [null, `p${Math.round(percentile * 100)}:`], ...curves.map((curve, n) => [swatch(look(n).colour, look(n).dash), `${whose(n)}${words(curve, percentile)}`])] };
            } }, curves.length ? uPlot.join(curves.map(path)) : [[0, most / 1000]]]] };
    });
    followers.push(() => draw());
    shownAgain.push(() => draw());
    refreshed.push(() => draw(true));
    const with_outages = data.cohorts.map((_, n) => n).filter(of);
    if (with_outages.length > LINES_MAX) {
        place.append(node('h3', {}, 'Each cohort ', node('small', {}, 'the dashed line is all cohorts together')));
        multiples(place, data, with_outages, (n) => {
            const pair = [whole(), of(n)];
            const look = (i) => (i ? { colour: seriesColour(0), dash: [] } : { colour: css('axis'), dash: [3, 3] });
            return { data: uPlot.join(pair.map(path)), full: full(), bottom: timesBelow(), left: (share) => `${Math.round(share * 100)} %`, y: ticks(true),
                ...options(pair, look, true), series: options(pair, look, true).series.slice(1),
                tip: (u) => ({ head: `back by ${time(u.posToVal(u.cursor.left, 'x') * 1000)}`, rows: [[null, percent(shareBy(of(n), u.posToVal(u.cursor.left, 'x') * 1000))], [null, `p50 ${words(of(n), 0.5)}`]] }) };
        }, 'Share of outages that are over');
    }
    return true;
}

// Where an expectation decides: the curve passes left of, or right of, the corner.
function drawLimits(u, limits) {
    const { ctx, bbox } = u;
    const ratio = devicePixelRatio;
    ctx.save();
    ctx.font = `600 ${11.5 * ratio}px system-ui, sans-serif`;
    ctx.lineWidth = 1.5 * ratio;
    limits.forEach(({ label, us, share, result }, n) => {
        const x = u.valToPos(us / 1000, 'x', true);
        if (x < bbox.left || x > bbox.left + bbox.width) return;
        const y = u.valToPos(share, 'y', true);
        ctx.strokeStyle = ctx.fillStyle = css({ pass: 'pass', fail: 'fail' }[result] || 'open');
        ctx.setLineDash([5 * ratio, 3 * ratio]);
        ctx.beginPath();
        ctx.moveTo(x, bbox.top + bbox.height);
        ctx.lineTo(x, y);
        ctx.stroke();
        ctx.setLineDash([]);
        ctx.beginPath();
        ctx.arc(x, y, 4 * ratio, 0, 7);
        ctx.stroke();
        const text = `${{ pass: '✓', fail: '✗' }[result] || '?'} ${label}`;
        const left = x + ctx.measureText(text).width + 6 * ratio < bbox.left + bbox.width;
        ctx.textAlign = left ? 'left' : 'right';
        ctx.textBaseline = 'bottom';
        ctx.fillText(text, x + (left ? 4 : -4) * ratio, bbox.top + bbox.height - (6 + 15 * n) * ratio);
    });
    ctx.restore();
}

// A curve that does not come to the top ends with a cross and says how many are missing.
function notReached(u, curves, look, small) {
    const { ctx, bbox } = u;
    const ratio = devicePixelRatio;
    ctx.save();
    ctx.font = `600 ${12 * ratio}px system-ui, sans-serif`;
    ctx.textAlign = 'right';
    const taken = [];
    curves.forEach((curve, n) => {
        const share = reached(curve);
        if (share >= 1 - 1e-9 || (small && n === 0)) return;
        const x = Math.min(u.valToPos(curve.until_us / 1000, 'x', true), bbox.left + bbox.width);
        const y = u.valToPos(share, 'y', true);
        ctx.strokeStyle = ctx.fillStyle = look(n).colour;
        ctx.lineWidth = 2 * ratio;
        const arm = 4 * ratio;
        ctx.beginPath();
        for (const [a, b] of [[-arm, -arm], [-arm, arm]]) {
            ctx.moveTo(x + a, y + b);
            ctx.lineTo(x - a, y - b);
        }
        ctx.stroke();
        if (small) return;
        ctx.fillStyle = css('ink');
        let height = share > 0.12 ? y + 16 * ratio : y - 8 * ratio;
        while (taken.some((other) => Math.abs(other - height) < 14 * ratio)) height += (share > 0.12 ? 14 : -14) * ratio;
        taken.push(height);
        ctx.fillText(`✗ ${percent(1 - share)} not back in ${time(curve.until_us)}`, x - 8 * ratio, height);
    });
    ctx.restore();
}

const ROUND_TRIP = [['p50', 0], ['p99', 1], ['max', 7]];

function roundTrips(place, data) {
    const with_echo = data.cohorts.map((_, n) => n).filter((n) => data.cohorts[n].rtt_us.length);
    if (!with_echo.length) return false;
    const full = [0, data.end_ms];
    const { axis: bottom } = timeAxis(data);
    const values = with_echo.flatMap((n) => data.cohorts[n].rtt_us.flat().filter((us) => us !== null));
    const [low, high] = [Math.max(1, Math.min(...values.filter((us) => us > 0), 1e9)), Math.max(10, ...values)];
    const range = [10 ** Math.floor(Math.log10(low)), 10 ** Math.ceil(Math.log10(high * 1.01))];
    const look = (i) => ({ colour: seriesColour(ROUND_TRIP[i][1]), dash: DASHES[i] });
    const points = data.cohorts[with_echo[0]].rtt_us.length;
    const begins = Array.from({ length: points }, (_, n) => (n + 0.5) * data.step_ms);
    const filter = (u, splits) => splits.map((value) => (/^1e/.test(value.toExponential()) ? value : null));
    const entries = () => key(ROUND_TRIP.map(([name], i) => [swatch(look(i).colour, look(i).dash), name]));
    const keys = node('div');
    const several = with_echo.length > 1;
    place.append(node('h3', {}, 'Round trip of echoed messages from their due time ', node('small', {}, `each ${offset(data.step_ms)}${data.merged > 1 ? ', the worst interval of it' : ''}; logarithmic; gaps: no echo came`)), keys);
    shownAgain.push(() => keys.replaceChildren(entries()));
    keys.append(entries());
    const of = (n) => ({
        data: [begins, ...ROUND_TRIP.map((_, i) => data.cohorts[n].rtt_us.map((stats) => stats[i]))], full,
        scales: { x: { time: false, range: (u, a, b) => (a === u.data[0][0] && b === u.data[0].at(-1) ? full : [a, b]) }, y: { distr: 3, range } },
        bottom, left: time, y: { filter, grid: { filter }, ticks: { filter }, values: (u, splits) => splits.map((value) => (value === null ? '' : time(value))) },
        series: ROUND_TRIP.map((_, i) => ({ stroke: () => look(i).colour, width: i === 2 ? 1.2 : 2, dash: look(i).dash, points: { show: false } })),
        tip: (u) => {
            const at = around(u, data, points);
            const stats = data.cohorts[n].rtt_us[at];
            return { head: `${offset(at * data.step_ms)} to ${offset(Math.min((at + 1) * data.step_ms, data.end_ms))}`,
                rows: stats[2] === null ? [[null, 'no echo']] : ROUND_TRIP.flatMap(([name], i) => (stats[i] === null ? [] : [[swatch(look(i).colour, look(i).dash), `${name} ${time(stats[i])}`]])) };
        },
        plugins: [marksPlugin(data, !several)],
    });
    if (several) return multiples(place, data, with_echo, of, 'Round trip'), true;
    const holder = node('div');
    place.append(holder);
    const draw = drawer(() => {
        const { data: table, bottom: x, left, y, series, ...options } = of(with_echo[0]);
        return { shape: '', charts: [[holder, { title: 'Round trips over time', height: 240, group: 'time', padding: [22, 18, 0, 0], axes: [x, yAxis(left, y)], series: [{}, ...series], ...options }, table]] };
    });
    shownAgain.push(() => draw());
    draw();
    return true;
}
