// Put into a copy of a page: what it looks like to those who read it, told to the page around it as JSON.
addEventListener("load", () => {
  const numbers = (colour) => colour.match(/[\d.]+/g).map(Number);
  const over = ([r, g, b, a = 1], below) => [r, g, b].map((x, i) => x * a + below[i] * (1 - a));
  const behind = (element) => {
    const layers = [];
    for (let x = element; x; x = x.parentElement) layers.push(numbers(getComputedStyle(x).backgroundColor));
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const luminance = (colour) => colour  // WCAG 2.2, relative luminance
    .map((x) => x / 255).map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4))
    .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
  const contrast = (element) => {
    const below = behind(element), own = over(numbers(getComputedStyle(element).color), below);
    const [high, low] = [luminance(own), luminance(below)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };
  const all = [...document.querySelectorAll("body *")];
  const text = all.filter((x) => !x.closest("svg") && x.checkVisibility() &&
    [...x.childNodes].some((y) => y.nodeType === 3 && y.textContent.trim()));
  const ids = all.map((x) => x.id).filter(Boolean);
  const named = (x) => x.getAttribute("aria-label") || x.getAttribute("alt") || x.textContent.trim();
  const result = {
    width: innerWidth, scroll: document.documentElement.scrollWidth, dark: matchMedia("(prefers-color-scheme: dark)").matches,
    broken: [...document.querySelectorAll('a[href^="#"]')].map((x) => x.getAttribute("href").slice(1)).filter((x) => !ids.includes(x)),
    anchors: document.querySelectorAll('a[href^="#"]').length,
    twice: ids.filter((x, i) => ids.indexOf(x) !== i),
    pictures: [...document.images].filter((x) => !x.naturalWidth).length,
    unnamed: all.filter((x) => x.matches('a, img, audio, summary, [tabindex], [role="img"]') && !named(x)).map((x) => x.outerHTML.slice(0, 90)),
    pale: text.filter((x) => contrast(x) < 4.5).map((x) => `${contrast(x).toFixed(1)} ${x.outerHTML.slice(0, 90)}`),
    cut: all.filter((x) => x.matches("h1, h2, h3, p, figcaption, svg.chart") && x.getBoundingClientRect().right > innerWidth + 1
      && !x.closest(".scroll")).map((x) => x.outerHTML.slice(0, 90)),
  };
  parent.postMessage(JSON.stringify(result), "*");
});
