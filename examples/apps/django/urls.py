"""/ shows who is signed in, /login signs in, /logout asks by a button: the library signs out by POST alone."""
import jwt
from django.contrib.auth.views import redirect_to_login
from django.http import HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.urls import include, path


def home(request):
    if not request.user.is_authenticated:
        return JsonResponse({"signed_in": False})
    claims = jwt.decode(request.session["oidc_id_token"], options={"verify_signature": False})  # it was verified when it came
    return JsonResponse({"signed_in": True, "claims": claims, "username": request.user.username, "email": request.user.email})


def logout(request):
    return HttpResponse(f'<form method="post" action="/oidc/logout/"><input type="hidden" name="csrfmiddlewaretoken" value="{get_token(request)}"><button>Sign out</button></form>')


urlpatterns = [
    path("oidc/", include("mozilla_django_oidc.urls")),
    path("", home),
    path("login", lambda request: redirect_to_login("/")),
    path("logout", logout),
]
