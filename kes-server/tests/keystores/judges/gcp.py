"""Google's own clients: tokens, secrets. Prints one JSON value."""
import json
import sys

import google.auth.identity_pool
import google.auth.jwt
import google.auth.transport.requests
import google.oauth2.credentials
import google.oauth2.service_account
from google.cloud import secretmanager_v1
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceRestTransport

command, *arguments = sys.argv[1:]
scope = "https://www.googleapis.com/auth/cloud-platform"
parent = "projects/my-project"


def client(host, token):
    credentials = google.oauth2.credentials.Credentials(token)
    transport = SecretManagerServiceRestTransport(host=host, url_scheme="http", credentials=credentials)
    return secretmanager_v1.SecretManagerServiceClient(transport=transport)


def token(file):
    """An access token for a file of application default credentials."""
    with open(file) as content:
        fields = json.load(content)
    # not by the loader: it leaves token_uri out, and asks Google for the project of an external account
    if fields["type"] == "authorized_user":
        names = ("refresh_token", "token_uri", "client_id", "client_secret")
        credentials = google.oauth2.credentials.Credentials(None, **{name: fields[name] for name in names})
    elif fields["type"] == "external_account":
        credentials = google.auth.identity_pool.Credentials.from_info(fields, scopes=[scope])
    else:
        credentials = google.oauth2.service_account.Credentials.from_service_account_info(fields, scopes=[scope])
        credentials = credentials.with_always_use_jwt_access(True)
        credentials._create_self_signed_jwt(None)
    credentials.refresh(google.auth.transport.requests.Request())
    return credentials.token


def claims(jwt, public_key):
    """What a JWT claims, if its signature and dates are good."""
    return google.auth.jwt.decode(jwt, public_key)


def read(host, token, name):
    version = f"{parent}/secrets/{name}/versions/latest"
    return client(host, token).access_secret_version(name=version).payload.data.decode()


def write(host, token, name, value):
    secrets = client(host, token)
    secret = {"replication": {"automatic": {}}}
    made = secrets.create_secret(parent=parent, secret_id=name, secret=secret)
    return secrets.add_secret_version(parent=made.name, payload={"data": value.encode()}).name


def names(host, token):
    return [secret.name.rsplit("/", 1)[1] for secret in client(host, token).list_secrets(parent=parent)]


def delete(host, token, name):
    client(host, token).delete_secret(name=f"{parent}/secrets/{name}")


functions = {function.__name__: function for function in (token, claims, read, write, names, delete)}
json.dump(functions[command](*arguments), sys.stdout)
