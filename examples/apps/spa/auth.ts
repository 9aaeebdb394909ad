import { UserManager } from 'oidc-client-ts'

const home = location.origin + import.meta.env.BASE_URL
export const users = new UserManager({
  authority: import.meta.env.VITE_ISSUER,
  client_id: import.meta.env.VITE_CLIENT_ID,
  redirect_uri: home + 'callback',
  post_logout_redirect_uri: home,
  scope: 'openid profile email offline_access',
})
if (location.href.startsWith(home + 'callback?')) try {
  await users.signinRedirectCallback()
  location.replace(home)
} catch (e) {
  document.body.textContent = String(e) // the person said no, or something is set up wrongly
  throw e
}
