use super::*;
use crate::manifest::{self, Manifest};

const IDENTITY: &str = "3ecfcdf38fcbe141ae26a1030f81e96b753365a46760ae6b578698a97c59fd22";

/// A configuration of KES with that keystore section.
fn kes_config(keystore: &str) -> String {
    format!(
        "address: 0.0.0.0:7373\nadmin: {{ identity: disabled }}\ntls: {{ key: /certs/k, cert: /certs/c }}\npolicy:\n  \
         minio: {{ allow: [/v1/key/generate/*], identities: [{IDENTITY}] }}\nkeys: [{{ name: first }}]\nkeystore: {keystore}\n"
    )
}

fn manifest_of(imported: &Imported) -> Manifest {
    let text = String::from_utf8(imported.files[0].content.to_vec()).unwrap();
    manifest::parse(&text, Path::new("/"), &|name| Some(format!("value of {name}"))).unwrap()
}

fn written<'a>(imported: &'a Imported, name: &str) -> &'a str {
    let file = imported.files.iter().find(|file| file.path.ends_with(name)).unwrap();
    assert_eq!(file.mode, 0o600);
    std::str::from_utf8(&file.content).unwrap()
}

#[test]
fn a_compose_file_is_read_with_what_it_mounts() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["certs", "data", "keys"] {
        std::fs::create_dir(path(name)).unwrap();
    }
    std::fs::create_dir(path("data/photos")).unwrap();
    std::fs::write(path("keys/second"), "").unwrap();
    std::fs::write(path("certs/minio.crt"), "-CERT-").unwrap();
    std::fs::write(path("certs/minio.key"), "-KEY-").unwrap();
    std::fs::write(path("kes.yml"), kes_config("{ fs: { path: /var/keys } }")).unwrap();
    let compose = "services:\n  kms:\n    image: minio/kes:2024\n    command: server --config=/conf/kes.yml\n    volumes:\n\
                   \x20     - ./kes.yml:/conf/kes.yml:ro\n      - ./keys:/var/keys\n    ports: ['127.0.0.1:17373:7373']\n\
                   \x20 store:\n    image: quay.io/minio/minio\n    command: server /data --console-address :9001\n\
                   \x20   ports: ['19000:9000']\n    volumes: [./data:/data, ./certs:/certs]\n    environment:\n\
                   \x20     MINIO_ROOT_USER: root-user\n      MINIO_ROOT_PASSWORD: s3cret-root\n      MINIO_SITE_NAME: here\n\
                   \x20     MINIO_KMS_AUTO_ENCRYPTION: 'on'\n      MINIO_KMS_REPLICATE_KEYID: 'off'\n      MINIO_CERTS_DIR: /certs\n\
                   \x20     MINIO_IDENTITY_OPENID_CLIENT_SECRET: s3cret-openid\n      MINIO_KMS_KES_KEY_NAME: first\n\
                   \x20     MINIO_KMS_KES_CERT_FILE: /certs/minio.crt\n      MINIO_KMS_KES_KEY_FILE: /certs/minio.key\n";
    std::fs::write(path("compose.yaml"), compose).unwrap();
    let mut found = Found::read(&path("compose.yaml"), &|_| None).unwrap();
    found.name = "moved".into();
    let imported = translate(&found, Path::new("/out"), false).unwrap();
    let manifest = manifest_of(&imported);
    assert_eq!(manifest.fs_path(), Some(path("keys")));
    assert_eq!(manifest.keys.iter().map(ToString::to_string).collect::<Vec<_>>(), ["first", "second"]);
    assert_eq!((manifest.kes.port, manifest.minio.port), (17373, 19000));
    assert_eq!(manifest.minio.env["MINIO_SITE_NAME"], "here");
    assert!(manifest.buckets.is_empty());
    assert_eq!(manifest.auto_encryption, Some(true), "as it was");
    assert_eq!(manifest.minio.env["MINIO_KMS_REPLICATE_KEYID"], "off");
    assert!(imported.notes.iter().any(|note| note.contains("MINIO_CERTS_DIR is not imported: has no effect")));
    assert!(!String::from_utf8_lossy(&imported.files[0].content).contains("s3cret"));
    assert!(written(&imported, "credentials.env").contains("MINIO_IDENTITY_OPENID_CLIENT_SECRET='s3cret-openid'"));
    assert!(written(&imported, "moved/config/minio").contains("MINIO_ROOT_PASSWORD=s3cret-root"));
    assert_eq!(written(&imported, "moved/certs/minio-kes.key"), "-KEY-");
    let copy = format!("cp -a {} /out/stacks/moved/minio", path("data").display());
    assert!(imported.next.contains(&copy), "{:?}", imported.next);
    assert!(imported.notes.iter().any(|note| note.contains("photos")), "{:?}", imported.notes);
}

/// `up` replaces the configuration: the copies of the first import are all that is left of it.
#[test]
fn a_second_import_of_a_folder_reads_and_keeps_the_first_files() {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("stack");
    let path = |name: &str| folder.join(name);
    for name in ["certs", "config", "keys", "minio"] {
        std::fs::create_dir_all(path(name)).unwrap();
    }
    std::fs::write(path("keys/second"), "").unwrap();
    let kes = kes_config("{ fs: { path: /mnt/keys } }");
    let env = "MINIO_ROOT_USER=root-user\nMINIO_ROOT_PASSWORD=s3cret-root\nMINIO_SITE_NAME=here\nMINIO_KMS_KES_KEY_NAME=first\n";
    std::fs::write(path("config/server-config.yaml"), &kes).unwrap();
    std::fs::write(path("config/minio"), env).unwrap();
    let import = || {
        let imported = translate(&Found::read(&folder, &|_| None)?, Path::new("/out"), false)?;
        for file in &imported.files {
            std::fs::create_dir_all(file.path.parent().unwrap()).unwrap();
            file.make().unwrap();
        }
        Ok::<_, Error>(String::from_utf8(imported.files[0].content.to_vec()).unwrap())
    };
    let kept = || {
        ["kes-config.yaml", "minio"].map(|name| std::fs::read_to_string(path("config/imported").join(name)).unwrap())
    };
    let first = import().unwrap();
    assert!(first.contains("MINIO_SITE_NAME: here"), "{first}");
    let files = [kes.clone(), env.to_owned()];
    assert_eq!(kept(), files);
    assert_eq!(import().unwrap(), first, "before `up`");
    let of_up = "# made by kestack: `kestack up` replaces it.\nMINIO_ROOT_USER=new\nMINIO_ROOT_PASSWORD=new-password\n";
    for name in ["kes-config.yaml", "minio"] {
        std::fs::write(path("config").join(name), of_up).unwrap();
    }
    assert_eq!(import().unwrap(), first);
    assert_eq!(kept(), files, "after `up`");
    for name in ["kes-config.yaml", "minio"] {
        std::fs::write(path("config").join(name), if name == "minio" { "MINIO_ROOT_USER=other\n" } else { &kes })
            .unwrap();
    }
    let error = import().unwrap_err().to_string();
    assert!(error.contains("has changed since the import") && error.contains("config/imported"), "{error}");
    assert_eq!(kept(), files);
}

/// Also in the form that was proposed for MinIO KES.
#[test]
fn a_sealed_folder_keeps_its_master_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("keys")).unwrap();
    for name in ["new.key", "old.key"] {
        std::fs::write(path(name), "00".repeat(32)).unwrap();
    }
    let compose = "name: sealed\nservices:\n  kes:\n    image: minio/kes\n    command: server --config=/kes.yml\n    volumes: \
                   ['./kes.yml:/kes.yml', './keys:/var/keys', './new.key:/new.key', './old.key:/old.key']\n  minio:\n    image: \
                   minio/minio\n    command: server /data\n    environment: { MINIO_KMS_KES_KEY_NAME: first }\n";
    std::fs::write(path("compose.yaml"), compose).unwrap();
    let sealed =
        "{ fs: { path: /var/keys, encryption: { masterKeyPath: /new.key, previous: [{ masterKeyPath: /old.key }] } } }";
    let proposed = "{ encryptedfs: { path: /var/keys, masterKeyPath: /new.key, masterKeyCipher: AES256 } }";
    for (keystore, has_previous) in [(sealed, true), (proposed, false)] {
        std::fs::write(path("kes.yml"), kes_config(keystore)).unwrap();
        let found = Found::read(&path("compose.yaml"), &|_| None).unwrap();
        let manifest = manifest_of(&translate(&found, Path::new("/out"), false).unwrap());
        let text = |place: &str| manifest.keystore.pointer(place).and_then(|text| text.as_str()).map(PathBuf::from);
        assert_eq!(manifest.fs_path(), Some(path("keys")));
        assert_eq!(text("/fs/encryption/masterKeyPath"), Some(path("new.key")));
        assert_eq!(text("/fs/encryption/previous/0/masterKeyPath"), has_previous.then(|| path("old.key")));
    }
}

#[test]
fn a_tenant_gives_its_keystore_and_says_what_stays() {
    let indented =
        kes_config("{ vault: { endpoint: 'https://vault:8200', approle: { id: role, secret: s3cret-id } } }")
            .replace('\n', "\n    ");
    let text = format!(
        "kind: Secret\nmetadata: {{ name: kes-conf }}\nstringData:\n  server-config.yaml: |\n    {indented}\n---\nkind: Secret\n\
         metadata: {{ name: env }}\nstringData:\n  config.env: |\n    export MINIO_ROOT_USER=\"root-user\"\n    export \
         MINIO_ROOT_PASSWORD=\"s3cret-root\"\n---\nkind: Tenant\nmetadata: {{ name: tenant-1 }}\nspec:\n  configuration: {{ \
         name: env }}\n  pools: [{{ servers: 4 }}]\n  kes: {{ kesSecret: {{ name: kes-conf }}, keyName: tenant-key }}\n"
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tenant.yaml");
    std::fs::write(&file, text).unwrap();
    let imported = translate(&Found::read(&file, &|_| None).unwrap(), Path::new("/out"), false).unwrap();
    let manifest = manifest_of(&imported);
    assert_eq!(manifest.name.as_str(), "tenant-1");
    assert_eq!(manifest.default_key.as_str(), "tenant-key");
    assert_eq!(manifest.keystore["vault"]["approle"]["secret"], "value of VAULT_SECRET_ID");
    assert!(written(&imported, "credentials.env").contains("VAULT_SECRET_ID='s3cret-id'"));
    for expected in ["stay in the volumes of the cluster", "spec.pools"] {
        assert!(imported.notes.iter().any(|note| note.contains(expected)), "{:?}", imported.notes);
    }
}

#[test]
fn what_cannot_be_a_stack_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |text: &str| {
        let file = folder.path().join("it.yaml");
        std::fs::write(&file, text).unwrap();
        let imported = Found::read(&file, &|_| None).and_then(|found| translate(&found, Path::new("/out"), false));
        imported.unwrap_err().to_string()
    };
    assert!(refused("a: b").contains("neither services nor a Tenant"));
    assert!(refused("services: { minio: { image: minio } }").contains("no service is 'kes'"));
    assert!(refused("kind: Tenant\nspec: {}").contains("configuration of the Tenant's KES"));
    std::fs::write(folder.path().join("kes.yml"), kes_config("{ fs: { path: /var/keys } }")).unwrap();
    let compose = |env: &str| {
        format!(
            "name: stack\nservices:\n  kes: {{ command: [server, --config, /kes.yml], volumes: ['./kes.yml:/kes.yml'] }}\n  minio: {{ \
             environment: {{ {env} }} }}\n"
        )
    };
    assert!(refused(&compose("MINIO_KMS_KES_KEY_NAME: first")).contains("folder of keys, '/var/keys'"));
    assert!(refused(&compose("MINIO_VOLUMES: '/data{1...4}'")).contains("several drives"));
    let error = Found::read(folder.path(), &|_| None).unwrap_err().to_string();
    assert!(error.contains("is not a folder of the documented procedure"), "{error}");
}
