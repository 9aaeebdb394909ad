// An app written with openid-client, for tests: /CLIENT/start signs in, /CLIENT/callback shows what
// came of it as JSON, /CLIENT/end signs out. SETTINGS holds {issuer, clients: {name: {id, secret, method, alg}}};
// of a client that is set up wrongly also its issuer, https (nothing else is allowed), skew (its clock, in
// seconds), and forgets (the code_verifier).
import http from 'node:http'
import { webcrypto } from 'node:crypto'
import { inspect } from 'node:util'

globalThis.crypto ??= webcrypto // Node.js 18 has it under another name
const oidc = await import('openid-client')

const settings = JSON.parse(process.env.SETTINGS)
const methods = {
  client_secret_basic: (c) => oidc.ClientSecretBasic(c.secret),
  client_secret_post: (c) => oidc.ClientSecretPost(c.secret),
  none: () => oidc.None(),
}
const configured = {}
const pending = {}
const tokens = {}
let base

async function configuration(name) {
  const c = settings.clients[name]
  configured[name] ??= await oidc.discovery(
    new URL(c.issuer ?? settings.issuer), c.id, { id_token_signed_response_alg: c.alg, [oidc.clockSkew]: c.skew ?? 0 }, methods[c.method](c),
    { execute: [...(c.https ? [] : [oidc.allowInsecureRequests]), oidc.enableNonRepudiationChecks] },
  )
  return configured[name]
}

const actions = {
  async start(name, url) {
    const config = await configuration(name)
    const verifier = oidc.randomPKCECodeVerifier()
    const asked = { state: oidc.randomState(), nonce: oidc.randomNonce() }
    pending[name] = { verifier, ...asked }
    const parameters = {
      redirect_uri: `${base}/${name}/callback`, scope: 'openid profile email', ...asked,
      code_challenge: await oidc.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
      ...Object.fromEntries(url.searchParams),
    }
    // What is given empty is left out.
    return { location: oidc.buildAuthorizationUrl(config, Object.fromEntries(Object.entries(parameters).filter(([, v]) => v !== ''))).href }
  },
  async callback(name, url) {
    const config = await configuration(name)
    const { verifier, state, nonce } = pending[name]
    const pkceCodeVerifier = settings.clients[name].forgets ? undefined : verifier
    const answer = await oidc.authorizationCodeGrant(config, url, { pkceCodeVerifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true })
    tokens[name] = answer
    const userinfo = await oidc.fetchUserInfo(config, answer.access_token, answer.claims().sub)
    return { body: { claims: answer.claims(), userinfo } }
  },
  async end(name) {
    const config = await configuration(name)
    return { location: oidc.buildEndSessionUrl(config, {
      id_token_hint: tokens[name].id_token, post_logout_redirect_uri: `${base}/${name}/ended`, state: 'left',
    }).href }
  },
  async ended(name, url) {
    return { body: { ended: name, state: url.searchParams.get('state') } }
  },
}

const server = http.createServer(async (req, res) => {
  const url = new URL(req.url, base)
  const [, name, action] = url.pathname.split('/')
  try {
    const { location, body } = await actions[action](name, url)
    if (location) return res.writeHead(302, { location }).end()
    res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  } catch (e) {
    res.writeHead(500, { 'content-type': 'application/json' }).end(JSON.stringify({ error: e.error ?? e.code ?? e.name, message: String(e.message), cause: String(e.cause), printed: inspect(e) }))
  }
})
server.listen(0, '127.0.0.1', () => {
  base = `http://127.0.0.1:${server.address().port}`
  console.log('READY ' + base)
})
process.stdin.on('end', () => process.exit()).resume() // the test is over
