import { users } from './auth'

const button = document.querySelector('button')!
const user = await users.getUser() // its profile holds the claims: the key of an account is sub and org_id
button.textContent = user ? 'Sign out ' + user.profile.email : 'Sign in'
button.onclick = () => user ? users.signoutRedirect() : users.signinRedirect()
