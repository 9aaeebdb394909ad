// Signs people in by Vestibule with express-openid-connect: / shows who is signed in, /refresh gets new
// tokens, /login and /logout are the library's.
import express from 'express'
import openid from 'express-openid-connect'

const { auth, requiresAuth } = openid
const app = express()
app.use(auth({ // issuer, client and secrets come from the environment
  authRequired: false,
  idpLogout: true,
  authorizationParams: { response_type: 'code', response_mode: 'query', scope: 'openid profile email offline_access' },
}))
app.get('/me', requiresAuth(), (req, res) => res.json(req.oidc.idTokenClaims))

app.get('/', async (req, res) => {
  if (!req.oidc.isAuthenticated()) return res.json({ signed_in: false })
  res.json({ signed_in: true, claims: req.oidc.idTokenClaims, userinfo: await req.oidc.fetchUserInfo() })
})
app.get('/refresh', requiresAuth(), async (req, res) => {
  const before = req.oidc.refreshToken
  await req.oidc.accessToken.refresh()
  res.json({ refreshed: req.oidc.refreshToken !== before })
})
app.use((err, req, res, next) => { // what the library or Vestibule said goes to whoever develops
  res.status(err.status ?? 500).json({ error: err.error ?? err.name, message: String(err.message) })
})

const server = app.listen(process.env.PORT, 'localhost', () => console.log('READY ' + process.env.BASE_URL))
process.on('SIGTERM', () => server.close())
