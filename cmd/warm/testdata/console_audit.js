// What a browser's page must be, whatever it shows: a list of what is wrong.
(() => {
  const problems = [];
  const say = (what, element) => problems.push(`${what}: <${element.tagName.toLowerCase()}${element.id ? '#' + element.id : ''}${element.getAttribute('class') ? '.' + element.getAttribute('class').trim().replaceAll(/\s+/g, '.') : ''}> ${(element.textContent ?? '').trim().slice(0, 40)}`);
  const canvas = Object.assign(document.createElement('canvas'), {width: 1, height: 1}).getContext('2d', {willReadFrequently: true});
  const rgba = colour => { // any colour of CSS, as the browser mixes it
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a), 1];
  const luminance = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const contrast = (a, b) => { const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p); return (x + .05) / (y + .05); };
  const ground = element => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      const c = rgba(getComputedStyle(e).backgroundColor);
      if (c[3] > 0) layers.push(c);
      if (c[3] === 1) break;
    }
    return layers.reduceRight((under, c) => over(c, under), rgba(getComputedStyle(document.documentElement).backgroundColor));
  };
  const visible = e => e.checkVisibility({checkOpacity: true, checkVisibilityCSS: true}) && e.getClientRects().length > 0 && !e.closest('.sr');
  const dimmed = e => { let o = 1; for (; e; e = e.parentElement) o *= Number(getComputedStyle(e).opacity); return o; };

  // Text: 4.5, large text 3 (WCAG 1.4.3).
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  let checked = 0;
  while (texts.nextNode()) {
    const e = texts.currentNode.parentElement;
    if (!texts.currentNode.textContent.trim() || seen.has(e) || !visible(e) || e.closest(':disabled, title, noscript') || dimmed(e) === 0) continue;
    seen.add(e);
    checked++;
    const style = getComputedStyle(e), size = parseFloat(style.fontSize);
    const large = size >= 24 || size >= 18.66 && Number(style.fontWeight) >= 700;
    const under = ground(e);
    const ink = rgba(e instanceof SVGElement ? style.fill : style.color);
    const ratio = contrast(over([...ink.slice(0, 3), ink[3] * dimmed(e)], under), under);
    if (ratio < (large ? 3 : 4.5)) say(`contrast ${ratio.toFixed(2)}`, e);
  }
  if (checked < 10) problems.push(`only ${checked} texts on the page`);
  for (const e of document.querySelectorAll('input, textarea')) {
    if (!visible(e) || !e.placeholder) continue;
    const ratio = contrast(rgba(getComputedStyle(e, '::placeholder').color), ground(e));
    if (ratio < 4.5) say(`contrast of the placeholder ${ratio.toFixed(2)}`, e);
  }
  // The edge of a field: 3 (WCAG 1.4.11).
  for (const e of document.querySelectorAll('select, textarea, input:not([type=range], [type=checkbox], [type=radio], [type=file])')) {
    if (!visible(e)) continue;
    const ratio = contrast(rgba(getComputedStyle(e).borderTopColor), ground(e.parentElement));
    if (ratio < 3) say(`contrast of the edge ${ratio.toFixed(2)}`, e);
  }
  // What is pressed has 24 by 24 pixels (WCAG 2.5.8); links in a text are exempt.
  for (const e of document.querySelectorAll('button, select, summary, nav a, input[type=range]')) {
    if (!visible(e)) continue;
    const {width, height} = e.getBoundingClientRect();
    if (width < 24 || height < 22) say(`small, ${width.toFixed(0)} × ${height.toFixed(0)}`, e);
  }
  // Headings go down by one level at a time, from one h1.
  const heads = [...document.querySelectorAll('main h1, main h2, main h3, main h4')].filter(visible).map(e => [Number(e.tagName[1]), e]);
  if (heads.filter(([level]) => level === 1).length !== 1) problems.push('not one h1');
  heads.forEach(([level, e], i) => { if (i && level > heads[i - 1][0] + 1) say(`h${level} below h${heads[i - 1][0]}`, e); });
  const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
  for (const id of new Set(ids.filter((id, i) => ids.indexOf(id) !== i))) problems.push(`two elements have the id ${id}`);
  // Nothing is wider than the window.
  if (document.documentElement.scrollWidth > innerWidth) {
    const wide = [...document.querySelectorAll('main *, header *')].filter(e => visible(e) && e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.scroll, pre, nav'));
    say(`scrolls sideways, ${document.documentElement.scrollWidth} of ${innerWidth} pixels`, wide.at(-1) ?? document.body);
  }
  if (document.querySelector('main').innerText.match(/undefined|\bNaN\b|\bnull\b|\[object/) && document.querySelector('main [data-view]').dataset.view !== 'docs') problems.push('a word of the program is on the page: ' + document.querySelector('main').innerText.match(/.{0,30}(undefined|\bNaN\b|\bnull\b|\[object).{0,20}/)[0]);
  return problems;
})()
