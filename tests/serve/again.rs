//! A second start: it takes nothing back that clients set, and needs nothing that one drive alone had.

use kestack::unstable::servers::s3::Encryption;

use crate::served::{Place, run};

#[test]
#[ignore = "needs MINIO_BINARY"]
fn settings_that_clients_changed_stay_unless_a_variable_names_them() {
    let place = Place::new();
    let env = [("KESTACK_BUCKETS", "photos,logs?versioning=off&key=own"), ("KESTACK_KEYS", "other")];
    let served = place.start(&env, &[]).open(&place);
    let other = Encryption::SseKms("other".into());
    run(async {
        let s3 = place.s3();
        for bucket in ["photos", "logs"] {
            s3.put_bucket_versioning(bucket, true).await.unwrap();
            s3.put_bucket_encryption(bucket, &other).await.unwrap();
        }
    });
    served.stop();
    let served = place.start(&env, &[]).open(&place);
    run(async {
        let s3 = place.s3();
        assert!(s3.bucket_versioning("photos").await.unwrap(), "versions are not kept any more");
        assert_eq!(s3.bucket_encryption("photos").await.unwrap(), Some(other));
        assert!(!s3.bucket_versioning("logs").await.unwrap(), "the variable says off");
        assert_eq!(s3.bucket_encryption("logs").await.unwrap(), Some(Encryption::SseKms("own".into())));
        s3.delete_bucket_encryption("photos").await.unwrap();
    });
    served.stop();
    let served = place.start(&env, &[]).open(&place);
    let encryption = run(place.s3().bucket_encryption("photos")).unwrap();
    assert_eq!(encryption, Some(Encryption::SseKms("minio-backend-key".into())));
    served.stop();
}
