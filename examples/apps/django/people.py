"""Who signs in, and out."""
from urllib.parse import urlencode

from django.conf import settings
from mozilla_django_oidc.auth import OIDCAuthenticationBackend


class ByPersonAndOrganization(OIDCAuthenticationBackend):
    def verify_claims(self, claims):
        return "sub" in claims and "org_id" in claims

    def get_username(self, claims):
        return claims["sub"] + "." + claims["org_id"]

    def filter_users_by_claims(self, claims):
        return self.UserModel.objects.filter(username=self.get_username(claims))


def sign_out(request):
    back = {"id_token_hint": request.session["oidc_id_token"], "post_logout_redirect_uri": request.build_absolute_uri("/")}
    return settings.ISSUER + "/logout?" + urlencode(back)
