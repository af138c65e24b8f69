"""Azure's own clients: log in, read and write secrets. Prints one JSON value."""
import json
import sys

from azure.identity import ClientSecretCredential
from azure.keyvault.secrets import SecretClient

command, url, ca, secret, *arguments = sys.argv[1:]
credential = ClientSecretCredential(
    "tenant", "client", secret, authority=url, disable_instance_discovery=True, connection_verify=ca
)
client = SecretClient(url, credential, verify_challenge_resource=False, connection_verify=ca)


def read(name):
    return client.get_secret(name).value


def write(name, value):
    client.set_secret(name, value)


def names():
    return sorted(secret.name for secret in client.list_properties_of_secrets())


def delete(name):
    client.begin_delete_secret(name).result()
    client.purge_deleted_secret(name)


functions = {function.__name__: function for function in (read, write, names, delete)}
json.dump(functions[command](*arguments), sys.stdout)
