"""Signs people in by Vestibule with Flask and Authlib: / shows who is signed in, /refresh gets new tokens."""
import os
from urllib.parse import urlencode

from authlib.integrations.flask_client import OAuth
from flask import Flask, redirect, session

app = Flask(__name__)
app.secret_key = os.environ["SECRET_KEY"]
tokens = {}  # by person and organization; a real app keeps them in its database

oauth = OAuth(app)
oauth.register(
    "vestibule",
    server_metadata_url=os.environ["ISSUER"] + "/.well-known/openid-configuration",
    client_id=os.environ["CLIENT_ID"],
    client_secret=os.environ["CLIENT_SECRET"],
    client_kwargs={"scope": "openid profile email offline_access", "code_challenge_method": "S256"},
)


@app.get("/login")
def login():
    return oauth.vestibule.authorize_redirect(os.environ["BASE_URL"] + "/callback")


@app.get("/callback")
def callback():
    token = oauth.vestibule.authorize_access_token()
    session["claims"] = dict(token["userinfo"])
    return keep(token)  # yours: keeps what you need of it, and goes on


def keep(token):
    tokens[key()] = token
    return redirect("/")


def key():
    return session["claims"]["sub"], session["claims"]["org_id"]


@app.get("/")
def home():
    if "claims" not in session or key() not in tokens:
        return {"signed_in": False}
    return {"signed_in": True, "claims": session["claims"], "userinfo": dict(oauth.vestibule.userinfo(token=tokens[key()]))}


@app.get("/refresh")
def refresh():
    before = tokens[key()]
    new = oauth.vestibule.fetch_access_token(grant_type="refresh_token", refresh_token=before["refresh_token"])
    tokens[key()] = {**before, **new}
    return {"refreshed": new["refresh_token"] != before["refresh_token"]}


@app.get("/logout")
def logout():
    token = tokens.pop(key())
    session.clear()
    end = oauth.vestibule.load_server_metadata()["end_session_endpoint"]
    return redirect(end + "?" + urlencode({"id_token_hint": token["id_token"], "post_logout_redirect_uri": os.environ["BASE_URL"] + "/"}))


@app.errorhandler(Exception)
def failed(e):  # what the library or Vestibule said goes to whoever develops
    return {"error": type(e).__name__, "message": str(e)}, getattr(e, "code", None) or 500


if __name__ == "__main__":
    print("READY " + os.environ["BASE_URL"], flush=True)
    app.run(host="localhost", port=int(os.environ["PORT"]))
