use super::*;

fn keys() -> (tempfile::TempDir, PathBuf, LocalKeys) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data/keys");
    let keys = LocalKeys::create(&path).unwrap();
    (dir, path, keys)
}

#[tokio::test]
async fn kp_1_what_is_sealed_opens_and_no_two_seals_are_equal() {
    let (_dir, path, keys) = keys();
    let one = keys.seal(b"whsec_x", "t/e/secret/1").await.unwrap();
    let two = keys.seal(b"whsec_x", "t/e/secret/1").await.unwrap();
    assert_ne!(one, two);
    assert_eq!(keys.open(&one, "t/e/secret/1").await.unwrap(), b"whsec_x");
    let again = LocalKeys::load(&path).unwrap();
    assert_eq!(again.open(&two, "t/e/secret/1").await.unwrap(), b"whsec_x");
}

#[tokio::test]
async fn kp_2_whatever_was_changed_cut_or_moved_is_damaged() {
    let (_dir, _, keys) = keys();
    let sealed = keys.seal(b"plain", "a").await.unwrap();
    assert_eq!(keys.open(&sealed, "b").await, Err(KeyError::Damaged));
    for length in 0..sealed.len() {
        assert!(keys.open(&sealed[..length], "a").await.is_err(), "{length}");
    }
    for index in 0..sealed.len() {
        let mut changed = sealed.to_vec();
        changed[index] ^= 1;
        assert!(keys.open(&changed, "a").await.is_err(), "{index}");
    }
}

#[tokio::test]
async fn kp_3_a_missing_key_is_named() {
    let (_one_dir, path, one) = keys();
    let (_two_dir, _, two) = keys();
    let sealed = one.seal(b"plain", "a").await.unwrap();
    let text = fs::read_to_string(path).unwrap();
    let line = text.lines().find(|line| !line.starts_with('#')).unwrap();
    let (id, key) = line.split_once(':').unwrap();
    let error = two.open(&sealed, "a").await.unwrap_err();
    assert_eq!(error, KeyError::MissingKey(id.to_owned()));
    assert!(!error.to_string().contains(key));
    assert!(!format!("{one:?}").contains(key));
}

#[test]
fn a_key_file_is_for_its_owner_alone_and_never_overwritten() {
    let (_dir, path, _) = keys();
    let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert!(matches!(LocalKeys::create(&path), Err(KeyFileError::Exists(_))));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let error = LocalKeys::load(&path).unwrap_err().to_string();
    assert!(error.contains("chmod 600"), "{error}");
}

#[test]
fn wrong_key_files_are_refused_with_the_line_and_without_its_content() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    let missing = LocalKeys::load(&path).unwrap_err().to_string();
    assert!(missing.contains("--key-file"), "{missing}");
    for (text, problem) in [
        ("# nothing\n", "no key"),
        ("a:c2hvcnQ=\n", "32 bytes"),
        ("\na b:c2hvcnQ=\n", "line 2"),
        ("c2hvcnQ=\n", "no `:`"),
        ("a:c2hvcnQ\n", "base64"),
    ] {
        let _ = fs::remove_file(&path);
        write_secret_file(&path, text.as_bytes()).unwrap();
        let error = LocalKeys::load(&path).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
        assert!(!error.contains("c2hvcnQ"), "{error}");
    }
}

#[test]
fn derived_keys_depend_on_the_key_and_the_purpose() {
    let (_one_dir, path, one) = keys();
    let (_two_dir, _, two) = keys();
    assert_eq!(one.derive("pages"), LocalKeys::load(&path).unwrap().derive("pages"));
    assert_ne!(one.derive("pages"), one.derive("other"));
    assert_ne!(one.derive("pages"), two.derive("pages"));
}

#[test]
fn a_private_directory_is_for_its_owner_alone_and_an_existing_one_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b");
    let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    create_private_dir(&path).unwrap();
    assert_eq!(mode(), 0o700);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
    create_private_dir(&path).unwrap();
    assert_eq!(mode(), 0o750);
}
