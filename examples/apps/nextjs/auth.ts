import NextAuth from "next-auth"
import { getToken } from "next-auth/jwt"
import { headers } from "next/headers"
import { redirect } from "next/navigation"

export const { handlers, auth, signIn, signOut } = NextAuth({
  providers: [{
    id: "vestibule", name: "Vestibule", type: "oidc",
    issuer: process.env.AUTH_VESTIBULE_ISSUER,
    clientId: process.env.AUTH_VESTIBULE_ID,
    clientSecret: process.env.AUTH_VESTIBULE_SECRET,
    client: { id_token_signed_response_alg: "RS256" },
    checks: ["pkce", "state", "nonce"],
    authorization: { params: { scope: "openid profile email" } },
  }],
  callbacks: {
    jwt({ token, account, profile }) { // at sign-in: the key of an account is sub and org_id
      if (account && profile) Object.assign(token, { sub: profile.sub, org_id: profile.org_id, id_token: account.id_token })
      return token
    },
    session({ session, token }) {
      return { ...session, user: { ...session.user, id: token.sub, org_id: token.org_id } }
    },
  },
})

// signOutEverywhere ends the session of this app and the one at Vestibule.
export async function signOutEverywhere() {
  const home = process.env.AUTH_URL!
  const token = await getToken({ req: { headers: await headers() }, secret: process.env.AUTH_SECRET, secureCookie: home.startsWith("https:") })
  await signOut({ redirect: false })
  const hint = { id_token_hint: String(token?.id_token), post_logout_redirect_uri: home + "/" }
  redirect(process.env.AUTH_VESTIBULE_ISSUER + "/logout?" + new URLSearchParams(hint))
}
