// Puts the charts into their places, and follows a run under way. What the script does not know stays as it was drawn.

(() => {
    let data;
    // Faults have numbers, for where there is no room for their names.
    const numbered = () => data.marks.filter((mark) => !mark.down).forEach((mark, n) => { mark.number = n + 1; });
    const open = () => {
        const target = location.hash && document.getElementById(location.hash.slice(1));
        if (target && target.tagName === 'DETAILS') target.open = true;
    };
    // All of a page, from the data that stands in it.
    const show = () => {
        [...shown].forEach((one) => one.end());
        [followers, shownAgain, refreshed].forEach((list) => list.splice(0));
        groups.clear();
        data = JSON.parse(document.getElementById('data').textContent);
        numbered();
        for (const [name, fill] of [['timeline', timeline], ['reconnect', reconnect], ['round-trips', roundTrips]]) {
            const figure = document.querySelector(`figure[data-chart="${name}"]`);
            if (!figure) continue;
            const live = figure.querySelector('.live');
            // Shown first: a chart is as wide as its place.
            live.hidden = false;
            figure.classList.add('alive');
            if (!figure.querySelector('.drawn svg')) figure.classList.add('only');
            if (!fill(live, data)) {
                live.hidden = true;
                figure.classList.remove('alive', 'only');
            }
        }
        choose(data.cohorts.map((_, place) => place));
        // A link to a cause opens what stands behind it.
        document.querySelectorAll('.matrix a').forEach((link) => link.addEventListener('click', () => {
            document.getElementById(link.hash.slice(1)).open = true;
        }));
        open();
    };
    show();
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => shownAgain.forEach((draw) => draw()));
    addEventListener('hashchange', open);
    if (data.live) follow();

    // Shows a run under way until it has ended, and then its report.
    function follow() {
        const status = document.getElementById('status');
        const tell = () => {
            const { figures, faults } = data.live;
            status.textContent = data.live.status;
            document.querySelector('.figures').replaceChildren(...figures.map(([what, value]) => node('div', {}, node('dd', {}, value), node('dt', {}, what))));
            document.querySelectorAll('#faults tbody tr').forEach((row, n) => { row.lastElementChild.textContent = faults[n]; });
        };
        tell();
        const source = new EventSource('events');
        // In a tab that nobody looks at nothing is drawn: what came last is, when somebody does.
        let waiting = null;
        const draw = () => {
            const fresh = waiting;
            waiting = null;
            if (!fresh) return;
            Object.assign(data, fresh);
            numbered();
            tell();
            refreshed.forEach((follow) => follow());
        };
        source.addEventListener('state', (event) => {
            if (!waiting) requestAnimationFrame(draw);
            waiting = JSON.parse(event.data);
        });
        source.addEventListener('error', () => { status.textContent = 'The run cannot be reached. If it is still under way, this page goes on by itself.'; });
        source.addEventListener('end', (event) => {
            source.close();
            waiting = null;
            const { report, failed } = JSON.parse(event.data);
            if (failed) {
                status.textContent = failed;
                return;
            }
            const ended = new DOMParser().parseFromString(report, 'text/html');
            document.querySelector('main').replaceWith(ended.querySelector('main'));
            document.getElementById('data').replaceWith(ended.getElementById('data'));
            document.title = ended.title;
            show();
        });
    }
})();
