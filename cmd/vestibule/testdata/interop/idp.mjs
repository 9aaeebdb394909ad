// An identity provider made of oidc-provider, for tests. Whoever types ADDRESS signs in with that
// address. SETTINGS holds {clients: [client metadata]}.
import http from 'node:http'
import { generateKeyPairSync, webcrypto } from 'node:crypto'

globalThis.crypto ??= webcrypto // Node.js 18 has it under another name
const { default: Provider } = await import('oidc-provider')

const settings = JSON.parse(process.env.SETTINGS)
const key = (type, options, alg) => ({ ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }), use: 'sig', alg, kid: alg })

const server = http.createServer()
server.listen(0, '127.0.0.1', () => {
  const base = `http://127.0.0.1:${server.address().port}`
  const provider = new Provider(base, {
    clients: settings.clients,
    jwks: { keys: [key('rsa', { modulusLength: 2048 }, 'RS256'), key('ec', { namedCurve: 'P-256' }, 'ES256'), key('ed25519', {}, 'EdDSA')] },
    cookies: { keys: ['only for tests'] },
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'given_name', 'family_name'] },
    enabledJWA: { idTokenSigningAlgValues: ['RS256', 'PS256', 'ES256', 'EdDSA'], clientAuthSigningAlgValues: ['RS256', 'ES256', 'EdDSA'] },
    features: { devInteractions: { enabled: true } },
    pkce: { methods: ['S256'], required: () => true },
    findAccount: (_, sub) => ({
      accountId: sub,
      claims: () => ({ sub: 'id-of-' + sub, email: sub, email_verified: true, name: 'Ada Interop', given_name: 'Ada', family_name: 'Interop' }),
    }),
  })
  provider.on('server_error', (_, e) => console.error(e))
  for (const event of ['authorization.error', 'grant.error', 'userinfo.error']) provider.on(event, (_, e) => console.error(event, e.message, e.error_description))
  server.on('request', provider.callback())
  console.log('READY ' + base)
})
process.stdin.on('end', () => process.exit()).resume() // the test is over
