// Finds an element by what people call it, else by CSS selector, and readies it: scrolled to, focused,
// its text selected. Answers {X, Y, Text, Value} or {Reason, Final}.
function (verb, what, value) {
  const flat = (s) => (s || "").replace(/\s+/g, " ").trim();
  const shown = (e) => {
    const s = getComputedStyle(e);
    return e.getClientRects().length > 0 && s.visibility !== "hidden";
  };
  const named = (id) => (id || "").split(/\s+/).map((i) => document.getElementById(i)?.textContent || "").join(" ");
  const names = (e) => {
    const own = [e.getAttribute("aria-label"), named(e.getAttribute("aria-labelledby")), e.title];
    if (verb === "click") own.push(e.innerText, /^(submit|button|reset)$/.test(e.type || "") ? e.value : "", e.querySelector("img[alt]")?.alt);
    else own.push(...[...(e.labels || [])].map((l) => l.innerText), e.name, e.placeholder);
    return own.map(flat).filter(Boolean);
  };
  const kinds = verb === "click"
    ? "a[href],button,input[type=submit],input[type=button],input[type=image],summary,label,[role=button],[role=link],[role=menuitem],[role=tab]"
    : "input:not([type=hidden]),textarea,select";
  const wanted = flat(what);
  const all = [...document.querySelectorAll(kinds)].filter(shown);
  const matching = (test) => {
    const hits = all.filter((e) => names(e).some(test));
    return hits.filter((e) => !hits.some((o) => o !== e && e.contains(o)));
  };
  let hits = [];
  if (verb !== "text") {
    for (const test of [(n) => n === wanted, (n) => n.startsWith(wanted), (n) => n.includes(wanted)]) {
      hits = matching(test);
      if (hits.length) break;
    }
  }
  if (hits.length > 1) {
    return { Final: true, Reason: hits.length + " things are called that: " + hits.map((e) => e.outerHTML.slice(0, 120)).join("  ") };
  }
  let e = hits[0];
  if (!e) {
    try { e = [...document.querySelectorAll(what)].find(shown); } catch { /* a text, not a selector */ }
  }
  if (!e) return { Reason: "nothing shown is called that; there are: " + all.flatMap(names).map((n) => JSON.stringify(n)).join(", ") };
  if (verb === "text") return { Text: e.innerText };
  if (verb === "value") return { Value: e.value };
  if (e.disabled) return { Reason: "it is disabled" };
  e.scrollIntoView({ block: "center", inline: "center", behavior: "instant" });
  if (verb === "fill") {
    if (e.tagName === "SELECT") {
      const o = [...e.options].find((o) => flat(o.text) === flat(value) || o.value === value);
      if (!o) return { Reason: "it has no such option" };
      e.value = o.value;
      e.dispatchEvent(new Event("input", { bubbles: true }));
      e.dispatchEvent(new Event("change", { bubbles: true }));
      return { Value: value };
    }
    if (e.readOnly) return { Reason: "it is read-only" };
    e.focus();
    if (document.activeElement !== e) return { Reason: "it does not take the focus" };
    e.select();
    return { Value: value === "" ? e.value : undefined };
  }
  const box = e.getClientRects()[0];
  const X = box.left + box.width / 2, Y = box.top + box.height / 2;
  const top = document.elementFromPoint(X, Y);
  if (!top || !(e.contains(top) || top.contains(e))) {
    return { Reason: "it is covered by " + (top ? top.outerHTML.slice(0, 120) : "nothing; it is off the screen") };
  }
  return { X, Y, Text: flat(e.innerText) };
}
