// Sends the form that takes the browser on, once. Somebody who came back with the Back button wants to
// be here: for them the button remains.
const form = document.querySelector('form[data-post]');
const [entry] = performance.getEntriesByType('navigation');
if (form && entry?.type !== 'back_forward') {
  for (const e of document.querySelectorAll('[data-opening]')) e.hidden = false;
  form.requestSubmit();
}
