use super::*;
use crate::packet::Segmentation;

#[test]
fn a_class_is_its_place() {
    for (place, class) in Class::ALL.into_iter().enumerate() {
        assert_eq!(class as usize, place);
    }
}

fn frame(bytes: u32) -> Weight {
    Weight::of_frame(bytes)
}

#[test]
fn families_add_up_to_the_total() {
    let mut direction = Direction::default();
    for (weight, class) in (1..).zip(Class::ALL) {
        for _ in 0..weight {
            direction.count(class as usize, Cast::Unicast, &frame(100));
            direction.see(weight, || weight);
        }
    }
    let mut sum = Cell::default();
    for family in [Family::Arp, Family::Ipv4, Family::Ipv6, Family::Other] {
        sum += direction.family(family);
    }
    assert_eq!(sum, direction.total());
    assert_eq!(sum, Cell { packets: 55, bytes: 5500 });
    assert_eq!(direction[Class::Ipv4Udp], Cell { packets: 4, bytes: 400 });
    assert_eq!(direction.last_seen_ns, 10);
}

#[test]
fn every_packet_has_one_cast_one_size_and_one_way_or_drop() {
    let mut direction = Direction::default();
    let casts = [Cast::Unicast, Cast::Multicast, Cast::Broadcast];
    for (index, bytes) in (0..3000).enumerate() {
        let cast = casts[index % 3];
        direction.count(Class::Arp as usize, cast, &frame(bytes));
        let cell = frame(bytes).cell;
        match index % 5 {
            0 => direction.count_way(Way::Peer, cell),
            1 => direction.count_drop(Reason::SpoofedMac, cell),
            _ => {}
        }
    }
    let total = direction.total();
    assert_eq!(total.packets, 3000);
    assert_eq!(
        casts.map(|cast| direction.cast(cast)).into_iter().fold(Cell::default(), sum),
        total
    );
    assert_eq!(Size::ALL.iter().map(|size| direction.size(*size)).sum::<u64>(), 3000);
    assert_eq!(direction.size(Size::UpTo64), 61);
    assert_eq!(direction.size(Size::UpTo1518), 1514 - 1019);
    let ways = Way::ALL.map(|way| direction.way(way)).into_iter();
    assert_eq!(ways.fold(direction.dropped(), sum), total);
    assert_eq!(direction.way(Way::Bridge).packets, 1800);
    assert_eq!(direction.drops(Reason::SpoofedMac).packets, 600);
}

#[test]
fn segments_are_counted_by_their_sizes() {
    let mut direction = Direction::default();
    let segmentation = Segmentation { payload_bytes: 1448, segments: 0 };
    let packet = [0; 66 + 3 * 1448 + 10];
    let weight = Weight::of_segments(packet.as_slice(), 66, segmentation);
    direction.count(Class::Ipv4Tcp as usize, Cast::Unicast, &weight);
    assert_eq!(direction.size(Size::UpTo1518), 3);
    assert_eq!(direction.size(Size::UpTo127), 1);
    assert_eq!(direction.total(), Cell { packets: 4, bytes: 4 * 66 + 3 * 1448 + 10 });
}

#[test]
fn segments_of_unknown_sizes_have_a_known_sum() {
    let segmentation = Segmentation { payload_bytes: Segmentation::BY_FRAGS, segments: 3 };
    let weight = Weight::of_segments([0; 346].as_slice(), 46, segmentation);
    assert_eq!(weight.cell, Cell { packets: 3, bytes: 300 + 3 * 46 });
}

#[test]
fn the_copies_of_all_processors_add_up() {
    let mut one = Direction::default();
    one.count(Class::Arp as usize, Cast::Broadcast, &frame(60));
    one.see(3, || 7);
    one.see(3, || unreachable!());
    one.count_drop(Reason::SpoofedNeighbour, frame(60).cell);
    let mut sum = one;
    one.last_seen_ns = 5;
    sum += one;
    assert_eq!(sum.last_seen_ns, 7);
    assert_eq!(sum.total(), Cell { packets: 2, bytes: 120 });
    assert_eq!(sum.cast(Cast::Broadcast).packets, 2);
    assert_eq!(sum.drops(Reason::SpoofedNeighbour).packets, 2);
    assert_eq!(sum.size(Size::UpTo64), 2);
}
