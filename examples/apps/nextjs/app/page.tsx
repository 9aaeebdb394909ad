import { auth, signIn, signOutEverywhere } from "@/auth"

export default async function Page() {
  const session = await auth()
  const act = async () => {
    "use server"
    await (session ? signOutEverywhere() : signIn("vestibule"))
  }
  return <form action={act}><button>{session ? "Sign out " + session.user?.email : "Sign in"}</button></form>
}
