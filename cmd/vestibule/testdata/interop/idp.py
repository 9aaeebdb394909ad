"""SAML identity providers made of pysaml2 and xmlsec1, for tests.

They sign everybody in as ada@interop.example without asking. GET /KIND/metadata describes one, POST
/KIND/trust takes a service provider's metadata, /KIND/sso answers requests by either binding. SETTINGS holds
{"dir", "key", "cert", "xmlsec", "kinds": {KIND: {"signed": "response"|"assertion"|"both"|"neither",
"algorithm": URI, "digest": URI, "want_signed": bool, "encrypt": {"data": URI, "key_type": xmlsec's name,
"cert": PEM file} or null}}}.
"""
import json
import os
import re
import sys
import threading
import traceback
import urllib.parse
from wsgiref.simple_server import WSGIRequestHandler, make_server

from saml2 import BINDING_HTTP_POST, BINDING_HTTP_REDIRECT
from saml2.config import IdPConfig
from saml2.mdstore import MetadataStore
from saml2.metadata import create_metadata_string
from saml2.saml import NAME_FORMAT_URI, NAMEID_FORMAT_PERSISTENT, NameID
from saml2.server import Server
from saml2.sigver import pre_encryption_part

settings = json.loads(os.environ["SETTINGS"])

IDENTITY = {"mail": "ada@interop.example", "givenName": "Ada", "sn": "Interop", "displayName": "Ada Interop"}
CONTEXT = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"


class Provider:
    def __init__(self, base, name, kind):
        self.name, self.kind = name, kind
        sso = [(base + "/sso", BINDING_HTTP_REDIRECT), (base + "/sso", BINDING_HTTP_POST)]
        self.config = IdPConfig()
        self.config.load({
            "entityid": base + "/metadata",
            "xmlsec_binary": settings["xmlsec"],
            "key_file": settings["key"],
            "cert_file": settings["cert"],
            "service": {
                "idp": {
                    "endpoints": {"single_sign_on_service": sso},
                    "name_id_format": [NAMEID_FORMAT_PERSISTENT],
                    "policy": {"default": {"lifetime": {"minutes": 5}, "name_form": NAME_FORMAT_URI}},
                    "signing_algorithm": kind["algorithm"],
                    "digest_algorithm": kind["digest"],
                    "want_authn_requests_signed": kind["want_signed"],
                }
            },
        })
        self.metadata = create_metadata_string(None, config=self.config, valid="24", sign=False)
        self.server = Server(config=self.config)
        self.server.metadata = self.server.sec.metadata = MetadataStore(self.config.attribute_converters, self.config)

    def trust(self, document):
        path = os.path.join(settings["dir"], "trusted-by-%s.xml" % self.name)
        with open(path, "w") as f:
            f.write(document)
        self.server.metadata.load("local", path)
        return "trusted"

    def answer(self, form, binding):
        relay_state = form.get("RelayState")
        request = self.server.parse_authn_request(
            form["SAMLRequest"], binding, relay_state=relay_state, sigalg=form.get("SigAlg"), signature=form.get("Signature")
        )
        args = self.server.response_args(request.message, [BINDING_HTTP_POST])
        response = str(self.server.create_authn_response(
            IDENTITY,
            name_id=NameID(format=NAMEID_FORMAT_PERSISTENT, text="id-of-ada"),
            authn={"class_ref": CONTEXT, "authn_auth": self.config.entityid},
            in_response_to=args["in_response_to"],
            destination=args["destination"],
            sp_entity_id=args["sp_entity_id"],
            sign_response=self.kind["signed"] in ("response", "both"),
            sign_assertion=self.kind["signed"] in ("assertion", "both"),
        ))
        if self.kind["encrypt"]:
            response = self.encrypted(response)
        return self.server.apply_binding(BINDING_HTTP_POST, response, args["destination"], relay_state, response=True)["data"]

    def encrypted(self, response):
        """Encrypts the assertion as xmlsec1 does, with the algorithm that the test asks for. Like pysaml2's
        own way, which knows Triple DES alone, it makes the assertion declare its namespaces itself."""
        declared = " ".join(re.findall(r'xmlns:\w+="[^"]+"', re.search(r"<\w+:Response[^>]*>", response)[0]))
        found = re.search(r"<(\w+):Assertion( .*</\1:Assertion>)", response, re.DOTALL)
        closed = "<{0}:EncryptedAssertion><{0}:Assertion {1}{2}</{0}:EncryptedAssertion>".format(found[1], declared, found[2])
        response = response[: found.start()] + closed + response[found.end() :]
        how = self.kind["encrypt"]
        template = pre_encryption_part(msg_enc=how["data"])
        return self.server.sec.crypto.encrypt_assertion(response, how["cert"], str(template), key_type=how["key_type"])


class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass


providers = {}


def route(environ):
    method = environ["REQUEST_METHOD"]
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)).decode()
    _, kind, action = environ["PATH_INFO"].split("/")
    if action == "metadata":
        return "application/samlmetadata+xml", providers[kind].metadata
    if action == "trust":
        return "text/plain", providers[kind].trust(body)
    binding = BINDING_HTTP_POST if method == "POST" else BINDING_HTTP_REDIRECT
    form = dict(urllib.parse.parse_qsl(body if method == "POST" else environ["QUERY_STRING"]))
    return "text/html", providers[kind].answer(form, binding)


def app(environ, start_response):
    try:
        status, (kind, body) = "200 OK", route(environ)
    except Exception as e:  # the test shows what went wrong
        traceback.print_exc()
        status, kind, body = "500 Error", "text/plain", repr(e)
    start_response(status, [("Content-Type", kind)])
    return [body.encode() if isinstance(body, str) else body]


httpd = make_server("127.0.0.1", 0, app, handler_class=Quiet)
base = "http://127.0.0.1:%d" % httpd.server_port
for name, kind in settings["kinds"].items():
    providers[name] = Provider(base + "/" + name, name, kind)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()  # the test is over
print("READY " + base, flush=True)
httpd.serve_forever()
