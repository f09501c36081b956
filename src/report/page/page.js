// Puts the charts into their places. What the script does not know stays as it was drawn.

(() => {
    const data = JSON.parse(document.getElementById('data').textContent);
    data.marks.filter((mark) => !mark.down).forEach((mark, n) => { mark.number = n + 1; });
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
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => shownAgain.forEach((draw) => draw()));
    // A link to a cause opens what stands behind it.
    const open = () => {
        const target = location.hash && document.getElementById(location.hash.slice(1));
        if (target && target.tagName === 'DETAILS') target.open = true;
    };
    addEventListener('hashchange', open);
    document.querySelectorAll('.matrix a').forEach((link) => link.addEventListener('click', () => {
        document.getElementById(link.hash.slice(1)).open = true;
    }));
    open();
})();
