const $ = (s, r = document) => r.querySelectorAll(s);
const bytes = (s) => Uint8Array.from(atob(s.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0));
const text = (b) => b && btoa(String.fromCharCode(...new Uint8Array(b))).replace(/[+/=]/g, (c) => ({ '+': '-', '/': '_' })[c] ?? '');
const there = !!window.PublicKeyCredential;
for (const e of $(there ? '[data-needs=passkey]' : '[data-lacks=passkey]')) e.hidden = false;

for (const form of there ? $('form[data-passkey]') : []) {
  const make = form.dataset.passkey === 'make', o = JSON.parse(form.dataset.options);
  o.challenge = bytes(o.challenge);
  if (o.user) o.user.id = bytes(o.user.id);
  for (const c of [...(o.excludeCredentials ?? []), ...(o.allowCredentials ?? [])]) c.id = bytes(c.id);
  let waiting;
  const all = [...$('[data-says]', form)], say = (name) => {
    const one = name && (all.find((e) => e.dataset.says === name) ?? all.at(-1));
    for (const e of all) e.hidden = e !== one;
  };
  const ask = async (mediation) => {
    waiting?.abort();
    const { signal } = waiting = new AbortController();
    say();
    try {
      const c = await navigator.credentials[make ? 'create' : 'get']({ publicKey: o, mediation, signal }), r = c.response, response = {};
      for (const k of ['clientDataJSON', 'attestationObject', 'authenticatorData', 'signature', 'userHandle']) if (r[k]) response[k] = text(r[k]);
      if (make) response.transports = r.getTransports?.() ?? [];
      form.elements.credential.value = JSON.stringify({ id: c.id, rawId: text(c.rawId), type: c.type, clientExtensionResults: {}, response });
      form.requestSubmit();
    } catch (e) {
      if (!signal.aborted && !mediation) say(e.name);
    }
  };
  addEventListener('pagehide', () => waiting?.abort()); // or Back shows no page
  form.querySelector('button[data-needs]').addEventListener('click', () => ask());
  if (form.dataset.passkey === 'any') PublicKeyCredential.isConditionalMediationAvailable?.().then((yes) => yes && ask('conditional'));
}
