import boto3, botocore.config, botocore.exceptions, pytest
from conftest import ask

@pytest.fixture
def s3(sandbox):
    once = botocore.config.Config(retries={"total_max_attempts": 1})
    return boto3.client("s3", endpoint_url=sandbox["endpoint"], region_name=sandbox["region"], config=once,
                        aws_access_key_id=sandbox["user"], aws_secret_access_key=sandbox["password"])

def test_objects_are_encrypted_with_the_key_of_the_sandbox(s3, sandbox):
    s3.put_object(Bucket=sandbox["bucket"], Key="a", Body=b"content")
    assert s3.head_object(Bucket=sandbox["bucket"], Key="a")["SSEKMSKeyId"].endswith(sandbox["key"])

def test_nothing_is_read_while_kes_refuses(s3, sandbox):
    s3.put_object(Bucket=sandbox["bucket"], Key="a", Body=b"content")
    ask("POST", "/v1/faults", {"fault": "kes-deny", "seconds": 60})
    with pytest.raises(botocore.exceptions.ClientError):
        s3.get_object(Bucket=sandbox["bucket"], Key="a")
    ask("DELETE", "/v1/faults")
    assert s3.get_object(Bucket=sandbox["bucket"], Key="a")["Body"].read() == b"content"
