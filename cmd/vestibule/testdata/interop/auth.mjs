// Apps written with Auth.js, for tests: what Next.js runs of it, without Next.js. /CLIENT/auth/… is the
// library's, /CLIENT/signin signs in as its button does, /CLIENT/printed gives what it printed since it was
// asked before. SETTINGS holds {issuer, clients: {name: {id, secret, issuer, method, alg, checks, params}}}.
import http from 'node:http'
import { format } from 'node:util'
import { webcrypto } from 'node:crypto'

globalThis.crypto ??= webcrypto // Node.js 18 has it under another name
const { Auth } = await import('@auth/core')

const settings = JSON.parse(process.env.SETTINGS)
let base
let printed = ''
for (const where of ['error', 'warn']) console[where] = (...words) => { printed += format(...words).replace(/\x1b\[\d+m/g, '') + '\n' }

const configured = (name) => {
  const c = settings.clients[name]
  return {
    basePath: `/${name}/auth`, secret: 'a-secret-of-thirty-two-characters', trustHost: true,
    providers: [{
      id: 'vestibule', name: 'Vestibule', type: 'oidc', issuer: c.issuer ?? settings.issuer, clientId: c.id, clientSecret: c.secret,
      client: { id_token_signed_response_alg: c.alg ?? 'RS256', token_endpoint_auth_method: c.method ?? 'client_secret_basic' },
      checks: c.checks ?? ['pkce', 'state', 'nonce'], authorization: { params: { scope: 'openid profile email', ...c.params } },
    }],
  }
}

async function answer(name, url, init) {
  return Auth(new Request(url, init), configured(name))
}

// signin does what the button of the library's page does.
async function signin(name) {
  const first = await answer(name, `${base}/${name}/auth/csrf`)
  const cookies = first.headers.getSetCookie().map((c) => c.split(';')[0]).join('; ')
  const { csrfToken } = await first.json()
  const signed = await answer(name, `${base}/${name}/auth/signin/vestibule`, {
    method: 'POST', headers: { cookie: cookies, 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ csrfToken, callbackUrl: `${base}/${name}/done` }),
  })
  return [signed, first]
}

const server = http.createServer(async (req, res) => {
  const url = new URL(req.url, base)
  const [, name, action] = url.pathname.split('/')
  if (action === 'printed' || action === 'done') {
    res.writeHead(200, { 'content-type': 'text/plain' }).end(printed)
    printed = ''
    return
  }
  const answers = action === 'signin' ? await signin(name) : [await answer(name, url, { method: req.method, headers: Object.entries(req.headers) })]
  const cookies = answers.flatMap((a) => a.headers.getSetCookie())
  res.writeHead(answers[0].status, { ...Object.fromEntries(answers[0].headers), 'set-cookie': cookies }).end(await answers[0].text())
})
server.listen(0, '127.0.0.1', () => {
  base = `http://127.0.0.1:${server.address().port}`
  console.log('READY ' + base)
})
process.stdin.on('end', () => process.exit()).resume() // the test is over
