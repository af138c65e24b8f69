"""AWS's own client: sets up users, reads and writes secrets. Prints one JSON value. `serve ADDRESS` is moto."""
import json
import sys
import threading
import urllib.request

import boto3

command, url, *arguments = sys.argv[1:]


def serve():
    """Serves AWS at a free port of an address, and prints the port as soon as moto listens. Does not return.

    One call at a time: moto looks through its secrets while other threads add some, which ends in a 500 on a busy
    machine, and does not take care that only one of several calls makes a name.
    """
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    moto, turn = DomainDispatcherApplication(create_backend_app), threading.Lock()

    def application(environ, start_response):
        with turn:
            return moto(environ, start_response)

    server = make_server(url, 0, application, threaded=True, request_handler=MotoRequestHandler)
    print(json.dumps(server.server_address[1]), flush=True)
    sys.stdout = sys.stderr
    server.serve_forever()


def client(service, access_key="admin", secret_key="admin"):
    return boto3.client(
        service,
        endpoint_url=url,
        region_name="eu-central-1",
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
    )


def free(calls):
    """Lets moto take so many calls without a signature."""
    data, headers = str(calls).encode(), {"Content-Type": "text/plain"}
    urllib.request.urlopen(urllib.request.Request(url + "/moto-api/reset-auth", data, headers))


def policy(iam, name, actions):
    """A policy that allows these actions and no others."""
    statement = {"Effect": "Allow", "Action": json.loads(actions), "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    return iam.create_policy(PolicyName=name, PolicyDocument=document)["Policy"]["Arn"]


def role(name, actions):
    """A role with such a policy; one more free call is that of the token service, which wants no signature."""
    free(4)
    iam = client("iam")
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    iam.attach_role_policy(RoleName=name, PolicyArn=policy(iam, name, actions))
    return arn


def user(name, actions):
    """The keys of a user with such a policy."""
    free(4)
    iam = client("iam")
    iam.create_user(UserName=name)
    iam.attach_user_policy(UserName=name, PolicyArn=policy(iam, name, actions))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return [key["AccessKeyId"], key["SecretAccessKey"]]


def read(access_key, secret_key, name):
    return client("secretsmanager", access_key, secret_key).get_secret_value(SecretId=name)["SecretString"]


def write(access_key, secret_key, name, form, value):
    secret = value if form == "SecretString" else value.encode()
    client("secretsmanager", access_key, secret_key).create_secret(Name=name, **{form: secret})


def names(access_key, secret_key):
    pages = client("secretsmanager", access_key, secret_key).get_paginator("list_secrets").paginate()
    return sorted(secret["Name"] for page in pages for secret in page["SecretList"])


def delete(access_key, secret_key, name):
    secrets = client("secretsmanager", access_key, secret_key)
    secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


functions = {function.__name__: function for function in (serve, role, user, read, write, names, delete)}
json.dump(functions[command](*arguments), sys.stdout)
