'use strict';
// What all charts of the page share: colours, words for numbers, marks of faults, reading off with pointer and keys, zoom.

const DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3], [4, 2], [12, 4], [1, 2], [6, 2, 1, 2, 1, 2]];
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();
const seriesColour = (n) => css('s' + (n % 8));

function node(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
        if (name === 'class') made.className = value;
        else if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
        else if (value !== false) made.setAttribute(name, value === true ? '' : value);
    }
    made.append(...children);
    return made;
}

// A piece of a line, as it looks in the chart.
function swatch(colour, dash, block) {
    const space = 'http://www.w3.org/2000/svg';
    const svg = document.createElementNS(space, 'svg');
    for (const [name, value] of [['width', 22], ['height', 10], ['aria-hidden', 'true']]) svg.setAttribute(name, value);
    const shape = document.createElementNS(space, block ? 'rect' : 'line');
    const places = block ? { x: 5, y: 0, width: 12, height: 10, fill: colour }
        : { x1: 0, y1: 5, x2: 22, y2: 5, stroke: colour, 'stroke-width': 2.5, 'stroke-dasharray': (dash || []).join(' ') };
    for (const [name, value] of Object.entries(places)) shape.setAttribute(name, value);
    svg.append(shape);
    return svg;
}

const count = (n) => Math.round(n).toString().replace(/\B(?=(\d{3})+$)/g, ',');
const counted = (n, noun) => `${count(n)} ${noun}${n === 1 ? '' : 's'}`;
function digits(value) {
    const places = value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
    return value.toFixed(places).replace(/(\.\d*?)0+$/, '$1').replace(/\.$/, '');
}
// As the texts of the report have them: 640 µs, 12.3 ms, 2.31 s, 2 min 5 s.
function time(us) {
    if (us < 1000) return `${Math.round(us)} µs`;
    if (us < 999500) return `${digits(us / 1e3)} ms`;
    if (us < 120e6) return `${digits(us / 1e6)} s`;
    const s = Math.round(us / 1e6);
    const two = (a, unit, b, small) => (b ? `${a} ${unit} ${b} ${small}` : `${a} ${unit}`);
    return s < 3600 ? two(Math.floor(s / 60), 'min', s % 60, 's') : two(Math.floor(s / 3600), 'h', Math.floor((s % 3600) / 60), 'min');
}
function percent(share) {
    const value = share * 100;
    if (value <= 0) return '0 %';
    if (value < 0.1) return '< 0.1 %';
    if (value < 100 && value > 99.9) return '> 99.9 %';
    return `${value.toFixed(1).replace(/\.0$/, '')} %`;
}
const offset = (ms) => time(ms * 1000);

// What draws a figure again when the colours change, and what follows when the data of a run under way has changed.
const shownAgain = [];
const refreshed = [];
// All charts that are shown.
const shown = new Set();

function axis({ grid, ticks, ...more }) {
    return {
        stroke: () => css('muted'), font: '12px system-ui, sans-serif', gap: 5,
        grid: { stroke: () => css('grid'), width: 1, ...grid }, ticks: { stroke: () => css('axis'), width: 1, size: 4, ...ticks }, ...more,
    };
}
const widest = (values) => Math.max(0, ...(values || []).map((value) => (value || '').length));
// As wide as its numbers.
const yAxis = (format, more = {}) => axis({
    values: (u, splits) => splits.map((value) => (value === null ? '' : format(value))),
    size: (u, values) => Math.max(34, 14 + 6.7 * widest(values)), space: 34, ...more,
});
// With the unit of the longest time, so that 0 has it too.
function unitFor(ms) {
    return ms >= 7.2e6 ? ['h', 3.6e6] : ms >= 180e3 ? ['min', 60e3] : ms >= 1000 ? ['s', 1000] : ms >= 1 ? ['ms', 1] : ['µs', 0.001];
}
const xAxis = (format, more = {}) => axis({ values: (u, splits) => splits.map(format), space: 64, size: 28, ...more });

// Bands and lines of faults; `named`: with their names, or numbers where there is no room.
function marksPlugin(data, named) {
    const behind = (u) => {
        const { ctx, bbox } = u;
        ctx.save();
        ctx.beginPath();
        ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
        ctx.clip();
        for (const down of [false, true]) {
            ctx.fillStyle = css(down ? 'down' : 'band');
            for (const mark of data.marks.filter((one) => one.down === down && one.until_ms !== null)) {
                const [from, to] = [u.valToPos(mark.from_ms, 'x', true), u.valToPos(mark.until_ms, 'x', true)];
                ctx.fillRect(from, bbox.top, Math.max(to - from, 2), bbox.height);
            }
        }
        ctx.restore();
    };
    const before = (u) => {
        const { ctx, bbox } = u;
        const ratio = devicePixelRatio;
        const faults = data.marks.filter((mark) => !mark.down);
        const at = (mark) => u.valToPos(mark.from_ms, 'x', true);
        const visible = faults.filter((mark) => at(mark) >= bbox.left - 1 && at(mark) <= bbox.left + bbox.width + 1);
        ctx.save();
        ctx.strokeStyle = ctx.fillStyle = css('fault');
        ctx.lineWidth = 1.25 * ratio;
        ctx.font = `600 ${11.5 * ratio}px system-ui, sans-serif`;
        ctx.textBaseline = 'bottom';
        ctx.textAlign = 'left';
        let end = -Infinity;
        const width = (mark) => ctx.measureText(mark.label).width + 14 * ratio;
        const fit = visible.every((mark, n) => at(mark) + width(mark) < (n + 1 < visible.length ? at(visible[n + 1]) : bbox.left + bbox.width + 8 * ratio));
        for (const mark of visible) {
            const x = at(mark);
            ctx.beginPath();
            ctx.moveTo(x, bbox.top - (named ? 4 * ratio : 0));
            ctx.lineTo(x, bbox.top + bbox.height);
            ctx.stroke();
            for (const again of mark.again_ms.map((ms) => u.valToPos(ms, 'x', true)).filter((x) => x >= bbox.left && x <= bbox.left + bbox.width)) {
                ctx.beginPath();
                ctx.moveTo(again, bbox.top);
                ctx.lineTo(again, bbox.top + 7 * ratio);
                ctx.stroke();
            }
            const text = fit ? mark.label : String(mark.number);
            if (!named || x < end) continue;
            ctx.fillText(text, fit ? x + 3 * ratio : x - ctx.measureText(text).width / 2, bbox.top - 4 * ratio);
            end = x + ctx.measureText(text).width + 6 * ratio;
        }
        ctx.restore();
    };
    return { hooks: { drawClear: behind, draw: before } };
}

// Says beside the pointer what is there: `lines(u)` gives the head and [swatch, text] of each series, or null.
function tipPlugin(lines) {
    let tip;
    const hide = () => { tip.hidden = true; };
    return {
        hooks: {
            init: (u) => {
                tip = node('div', { class: 'tip', hidden: true });
                u.over.append(tip);
                u.over.addEventListener('mouseleave', hide);
            },
            setCursor: (u) => {
                const { left, top } = u.cursor;
                const said = left >= 0 ? lines(u) : null;
                if (!said || (!u.over.matches(':hover') && !u.root.contains(document.activeElement) && document.activeElement !== u.root.parentElement)) return hide();
                tip.replaceChildren(node('b', {}, said.head), ...said.rows.map(([mark, text]) => node('span', {}, ...(mark ? [mark] : []), text)));
                tip.hidden = false;
                const [w, h] = [tip.offsetWidth, tip.offsetHeight];
                const right = left + 14 + w <= u.over.clientWidth || left < w + 14;
                tip.style.left = `${right ? Math.min(left + 14, Math.max(0, u.over.clientWidth - w)) : left - 14 - w}px`;
                tip.style.top = `${Math.max(0, Math.min(top < 0 ? 8 : top - h / 2, u.over.clientHeight - h))}px`;
                u.said = [said.head, ...said.rows.map(([, text]) => text)].join('; ');
            },
        },
    };
}

// Those that share the axis of time zoom together.
const groups = new Map();
function zoom(group, from, to) {
    for (const u of groups.get(group) || []) u.setScale('x', { min: from, max: to });
}

// Puts a chart into `place`, as wide as that is. `put` gives it other data, and what of its options says how these are shown: what does not change
// with the data, as the number of series and how they look, stays.
function chart(place, first, data) {
    let now = first;
    const { title, height, group, tip, ...options } = first;
    const holder = node('div', { class: 'chart', tabindex: 0, role: 'group', 'aria-label': `${title}. Arrow keys read it off, plus and minus zoom, 0 shows all.` });
    const spoken = node('span', { class: 'said', 'aria-live': 'polite' });
    place.append(holder, spoken);
    let u;
    let made = false;
    const zoomed = (self, key) => {
        if (!made || key !== 'x' || !group) return;
        const { min, max } = self.scales.x;
        for (const other of groups.get(group)) {
            if (other !== self && (other.scales.x.min !== min || other.scales.x.max !== max)) other.setScale('x', { min, max });
        }
    };
    const width = () => Math.max(120, holder.clientWidth);
    const scale = (key) => {
        const { range, ...more } = options.scales[key];
        return { ...more, range: (...asked) => { const said = now.scales[key].range; return typeof said === 'function' ? said(...asked) : said; } };
    };
    u = new uPlot({
        width: width(), height, legend: { show: false }, pxAlign: 1,
        cursor: { y: false, points: { show: false }, sync: group ? { key: group, setSeries: false } : undefined, drag: { x: true, y: false, setScale: true, dist: 4 } },
        ...options, scales: { x: scale('x'), y: scale('y') },
        plugins: [...(options.plugins || []), { hooks: { draw: (self) => now.over && now.over(self) } }, ...(tip ? [tipPlugin((self) => now.tip(self))] : []), { hooks: { setScale: zoomed } }],
    }, data, holder);
    made = true;
    if (group) groups.set(group, [...(groups.get(group) || []), u]);
    const observer = new ResizeObserver(() => { if (holder.clientWidth && u.width !== width()) u.setSize({ width: width(), height }); });
    observer.observe(holder);
    holder.addEventListener('keydown', (event) => {
        const { min, max } = u.scales.x;
        const [from, to] = now.full;
        const move = (low, high) => {
            if (group) zoom(group, low, high);
            else u.setScale('x', { min: low, max: high });
            event.preventDefault();
        };
        const step = { ArrowLeft: -1, ArrowRight: 1, PageDown: 10, PageUp: -10 }[event.key];
        if (step) {
            const wide = u.over.clientWidth;
            const left = Math.max(0, Math.min(wide, (u.cursor.left >= 0 ? u.cursor.left : step > 0 ? -wide / 60 : wide) + (step * wide) / 60));
            u.setCursor({ left, top: u.cursor.top >= 0 ? u.cursor.top : u.over.clientHeight / 2 });
            spoken.textContent = u.said || '';
            event.preventDefault();
        } else if (event.key === 'ArrowUp' || event.key === 'ArrowDown') {
            const tall = u.over.clientHeight;
            const top = Math.max(0, Math.min(tall, (u.cursor.top >= 0 ? u.cursor.top : tall / 2) + (event.key === 'ArrowUp' ? -tall / 50 : tall / 50)));
            u.setCursor({ left: u.cursor.left >= 0 ? u.cursor.left : u.over.clientWidth / 2, top });
            spoken.textContent = u.said || '';
            event.preventDefault();
        } else if (event.key === '+' || event.key === '=') {
            const middle = u.cursor.left >= 0 ? u.posToVal(u.cursor.left, 'x') : (min + max) / 2;
            move(Math.max(from, middle - (max - min) / 4), Math.min(to, middle + (max - min) / 4));
        } else if (event.key === '-') move(Math.max(from, min - (max - min) / 2), Math.min(to, max + (max - min) / 2));
        else if (event.key === '0' || event.key === 'Escape') move(from, to);
    });
    holder.addEventListener('blur', () => u.setCursor({ left: -10, top: -10 }));
    u.over.addEventListener('dblclick', () => { if (group) zoom(group, ...now.full); });
    const made_one = {
        u,
        put(next, table) {
            const { min, max } = u.scales.x;
            const whole = Math.abs(min - now.full[0]) + Math.abs(max - now.full[1]) < 1e-6 * (max - min);
            now = next;
            u.setData(table, false);
            const [from, to] = whole ? now.full : [min, max];
            // Draws it again, on a scale for the new values.
            u.setScale('x', { min: from, max: to });
        },
        end() {
            observer.disconnect();
            shown.delete(made_one);
            if (group) groups.set(group, groups.get(group).filter((one) => one !== u));
            u.destroy();
            holder.remove();
            spoken.remove();
        },
    };
    shown.add(made_one);
    return made_one;
}

// Draws the charts that `make` says: { shape, charts: [[place, options, data]] }. With `fresh` data charts of the same shape stay, with their zoom
// and what is read off them.
function drawer(make) {
    let [charts, was] = [[], null];
    return (fresh) => {
        const made = make();
        if (fresh && made.shape === was) return made.charts.forEach(([, options, table], n) => charts[n].put(options, table));
        charts.forEach((one) => one.end());
        was = made.shape;
        charts = made.charts.map((one) => chart(...one));
    };
}

// Buttons for those without a wheel or a mouse.
function tools(group, full, words) {
    const by = (factor) => () => {
        const [first] = groups.get(group) || [];
        if (!first) return;
        const { min, max } = first.scales.x;
        const half = ((max - min) / 2) * factor;
        zoom(group, Math.max(full[0], (min + max) / 2 - half), Math.min(full[1], (min + max) / 2 + half));
    };
    return node('div', { class: 'tools' }, node('button', { type: 'button', onclick: by(0.5) }, 'Zoom in'), node('button', { type: 'button', onclick: by(2) }, 'Zoom out'),
        node('button', { type: 'button', onclick: () => zoom(group, ...full) }, 'Whole run'), node('p', {}, words));
}
