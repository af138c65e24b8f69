"""Fortanix's own client: logs in, reads and writes security objects. Prints one JSON value."""
import json
import sys

from sdkms.v1 import ApiClient, AuthenticationApi, Configuration, SecurityObjectsApi
from sdkms.v1 import KeyOperations, ObjectType, SobjectDescriptor, SobjectRequest

command, url, key, *arguments = sys.argv[1:]
configuration = Configuration()
configuration.host, configuration.app_api_key = url, key
client = ApiClient(configuration)
configuration.api_key = {"Authorization": AuthenticationApi(client).authorize().access_token}
configuration.api_key_prefix = {"Authorization": "Bearer"}
objects = SecurityObjectsApi(client)


def read(name):
    return objects.get_security_object_value_ex(SobjectDescriptor(name=name)).value.decode()


def write(name, value):
    request = SobjectRequest(
        name=name, obj_type=ObjectType.OPAQUE, key_ops=[KeyOperations.EXPORT, KeyOperations.APPMANAGEABLE],
        value=bytearray(value.encode()), enabled=True,
    )
    objects.import_security_object(request)


def names():
    return [one.name for one in objects.get_security_objects(sort="name:asc", limit=100)]


def delete(name):
    objects.delete_security_object(objects.get_security_objects(name=name)[0].kid)


functions = {function.__name__: function for function in (read, write, names, delete)}
json.dump(functions[command](*arguments), sys.stdout)
