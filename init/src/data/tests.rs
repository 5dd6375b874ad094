use super::choose;
use crate::block::Partition;

fn partition(name: &str, disk: &str, label: &str) -> Partition {
    Partition::for_test(name, disk, label)
}

#[test]
fn the_roots_disk_is_preferred() {
    let list = vec![
        partition("vda1", "vda", "warder-data"),
        partition("vdb1", "vdb", "esp"),
        partition("vdb2", "vdb", "warder-data"),
    ];
    assert_eq!(choose(list.clone(), Some("vdb")).unwrap().name, "vdb2");
    assert_eq!(choose(list.clone(), Some("vdc")).unwrap().name, "vda1");
    assert_eq!(choose(list, None).unwrap().name, "vda1");
}

#[test]
fn without_the_label_there_is_none() {
    assert_eq!(choose(vec![partition("vda1", "vda", "esp")], Some("vda")), None);
    assert_eq!(choose(Vec::new(), None), None);
}
