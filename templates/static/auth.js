// Sign-in pages: everything here is an improvement, nothing is required.
const $ = (s, r = document) => r.querySelectorAll(s);

// Send a form once.
for (const f of $('form[data-once]')) f.addEventListener('submit', (e) => {
  if (f.dataset.sent) return e.preventDefault();
  f.dataset.sent = 1;
  (e.submitter ?? f.querySelector('[type=submit]'))?.setAttribute('aria-busy', 'true');
});
// Coming back with the browser's Back button must not leave a dead form.
addEventListener('pageshow', () => { for (const f of $('form[data-once]')) { delete f.dataset.sent; f.querySelector('[aria-busy]')?.removeAttribute('aria-busy'); } });

// One-time codes: light up the box that the next digit goes into, paste "123 456", send when full.
function mark(i) {
  const o = i.closest('.otp'), n = Math.min(5, i.value.length);
  o.dataset.n = n;
  o.querySelectorAll('i').forEach((b, k) => b.classList.toggle('on', k === n));
}
for (const i of $('.otp input')) {
  mark(i);
  i.addEventListener('input', () => {
    const v = i.value.replace(/\D/g, '').slice(0, 6);
    if (v !== i.value) i.value = v;
    mark(i);
    if (v.length === 6 && !i.matches('[aria-invalid]')) i.form.requestSubmit();
  });
}

// Copy what a button names, and say so in its own words.
if (navigator.clipboard) for (const b of $('[data-copy]')) {
  const label = b.querySelector('span'), was = label.textContent;
  b.hidden = false;
  b.addEventListener('click', async () => {
    await navigator.clipboard.writeText(document.querySelector(b.dataset.copy).textContent.trim());
    label.textContent = b.dataset.copied; setTimeout(() => { label.textContent = was; }, 1500);
  });
}

for (const b of $('[data-print]')) { b.hidden = false; b.addEventListener('click', () => print()); }

// Shorten a long list while typing.
const plain = (s) => s.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase();
for (const box of $('[data-filter]')) {
  const items = [...$(`${box.dataset.filter} > li`)], status = box.querySelector('[data-none]');
  box.hidden = false;
  box.querySelector('input').addEventListener('input', (e) => {
    const words = plain(e.target.value).split(/\s+/);
    for (const li of items) li.hidden = !words.every((w) => plain(li.textContent).includes(w));
    status.textContent = items.every((li) => li.hidden) ? status.dataset.none : '';
  });
}
