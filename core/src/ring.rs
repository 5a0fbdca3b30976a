//! The consistent-hash ring: which (node, core) owns a dataInfoId, and which nodes hold its copies.
//!
//! Each core of each node is a member with its own points, so a node with more cores owns more. Point positions depend on the
//! member alone: adding or removing one moves only what it owns.

use std::collections::BTreeSet;

use crate::names::{CoreId, DataInfoId, Member, NodeId, mix};

/// Points of one member. With 256 the shares of two members differ by a few percent.
const POINTS_PER_MEMBER: u64 = 256;

/// Members on a circle of 64-bit hashes.
#[derive(Clone, Debug)]
pub struct HashRing {
    points: Vec<(u64, Member)>,
    /// The nodes of the members, each once.
    nodes: Vec<NodeId>,
    /// The first point at or behind each of equal parts of the circle, as many as points or more: what is looked for is a step or two on.
    first_in: Vec<u32>,
    /// What is left of a hash by this shift is its part of the circle.
    part_shift: u32,
}

/// The first rule there was: that of journals which do not say theirs.
pub const FIRST_RULE: u64 = 0x489f_2cbc_314a_a293;

/// What tells the rule by which members own services from every other rule: builds in which it is equal agree on all owners.
pub fn rule() -> u64 {
    const SAMPLES: u64 = 4_096;
    let members = (0..3).flat_map(|node| {
        (0..2).map(move |core| Member {
            node: NodeId(node),
            core: CoreId(core),
        })
    });
    let ring = HashRing::new(members);
    (0..SAMPLES).fold(SAMPLES, |rule, sample| {
        let owner = ring.owner(&DataInfoId::new(&format!("sample {sample}"), "", ""));
        mix(rule ^ (owner.node.0 << u16::BITS | u64::from(owner.core.0)))
    })
}

impl HashRing {
    /// The ring of these members.
    ///
    /// # Panics
    /// If there is none: somebody must own each dataInfoId.
    pub fn new(members: impl IntoIterator<Item = Member>) -> Self {
        let mut points: Vec<_> = members.into_iter().flat_map(points_of).collect();
        assert!(!points.is_empty(), "a ring needs a member");
        points.sort_unstable();
        points.dedup_by_key(|&mut (position, _)| position);
        let nodes: BTreeSet<_> = points.iter().map(|(_, member)| member.node).collect();
        let parts = (points.len() as u64).next_power_of_two().max(2);
        let part_shift = u64::BITS - parts.ilog2();
        let first_at = |place: u64| points.partition_point(|&(position, _)| position < place);
        let first_in = (0..parts).map(|part| first_at(part << part_shift) as u32);
        Self {
            first_in: first_in.collect(),
            part_shift,
            nodes: nodes.into_iter().collect(),
            points,
        }
    }

    /// The ring of one node's cores alone: on it a dataInfoId finds its session home core. The node that owns a dataInfoId
    /// has owner and home on the same core, because removing other members never moves what the rest already owned.
    pub fn of_node(node: NodeId, cores: u16) -> Self {
        Self::new((0..cores).map(|core| Member {
            node,
            core: CoreId(core),
        }))
    }

    /// Who owns this dataInfoId.
    pub fn owner(&self, data_info_id: &DataInfoId) -> Member {
        self.owner_at(data_info_id.ring_hash())
    }

    /// Who owns this place on the ring.
    pub fn owner_at(&self, hash: u64) -> Member {
        let (_, member) = self.points[self.place(hash)];
        member
    }

    /// The owner and then the holders of copies: the first member met of each further node, `copies` nodes at most.
    pub fn owners(&self, data_info_id: &DataInfoId, copies: usize) -> Vec<Member> {
        let start = self.place(data_info_id.ring_hash());
        let clockwise = self.points[start..].iter().chain(&self.points[..start]);
        let mut owners: Vec<Member> = Vec::with_capacity(copies);
        for &(_, member) in clockwise {
            if owners.len() == copies {
                break;
            }
            if owners.iter().all(|owner| owner.node != member.node) {
                owners.push(member);
            }
        }
        owners
    }

    /// Whether any member is not of this node. Asked in every turn, so it looks at two nodes at most, however many points there are.
    pub fn has_other_nodes(&self, node: NodeId) -> bool {
        self.nodes.iter().any(|&other| other != node)
    }

    fn place(&self, hash: u64) -> usize {
        let first = self.first_in[(hash >> self.part_shift) as usize] as usize;
        let before = self.points[first..].iter();
        let place = first + before.take_while(|&&(position, _)| position < hash).count();
        // Behind the last comes the first.
        if place == self.points.len() { 0 } else { place }
    }
}

fn points_of(member: Member) -> impl Iterator<Item = (u64, Member)> {
    let seed = mix(member.node.0 ^ mix(u64::from(member.core.0) + 1));
    (0..POINTS_PER_MEMBER).map(move |point| (mix(seed.wrapping_add(mix(point + 1))), member))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_is_the_first_there_was() {
        assert_eq!(rule(), FIRST_RULE);
    }

    #[test]
    fn each_place_belongs_to_the_first_point_at_or_behind_it() {
        for cores in [1, 2, 3, 64] {
            let ring = HashRing::of_node(NodeId(7), cores);
            let at_points = ring.points.iter().map(|&(position, _)| position);
            let around_points =
                at_points.flat_map(|at| [at.wrapping_sub(1), at, at.wrapping_add(1)]);
            let spread = (0..1_000).map(mix);
            for hash in around_points.chain(spread).chain([0, u64::MAX]) {
                let behind = ring.points.iter().find(|&&(position, _)| position >= hash);
                let &(_, owner) = behind.unwrap_or(&ring.points[0]);

                assert_eq!(ring.owner_at(hash), owner, "{hash:#x} of {cores} cores");
            }
        }
    }

    fn services(count: usize) -> impl Iterator<Item = DataInfoId> {
        (0..count).map(|index| DataInfoId::new(&format!("com.example.Service{index}"), "", "SOFA"))
    }

    #[test]
    fn cores_share_the_ring_about_evenly() {
        let ring = HashRing::of_node(NodeId(1), 2);

        let on_first = services(10_000)
            .filter(|service| ring.owner(service).core == CoreId(0))
            .count();

        assert!((4_000..6_000).contains(&on_first), "{on_first}");
    }

    #[test]
    fn a_member_that_leaves_moves_only_what_it_owned() {
        let both = HashRing::new([NodeId(1), NodeId(2)].map(|node| Member {
            node,
            core: CoreId(0),
        }));
        let one = HashRing::of_node(NodeId(1), 1);

        let moved = services(1_000).filter(|service| {
            both.owner(service).node == NodeId(1) && one.owner(service) != both.owner(service)
        });

        assert_eq!(moved.count(), 0);
    }

    #[test]
    fn the_owner_is_also_the_home_on_its_own_node() {
        let all = HashRing::new((1..4).flat_map(|node| {
            (0..3).map(move |core| Member {
                node: NodeId(node),
                core: CoreId(core),
            })
        }));

        let owned_elsewhere = services(1_000)
            .map(|service| (all.owner(&service), service))
            .filter(|(owner, service)| HashRing::of_node(owner.node, 3).owner(service) != *owner);

        assert_eq!(owned_elsewhere.count(), 0);
    }

    #[test]
    fn a_lone_node_has_no_others_whatever_its_cores() {
        let lone = HashRing::of_node(NodeId(1), 64);
        let pair = HashRing::new([NodeId(1), NodeId(2)].map(|node| Member {
            node,
            core: CoreId(0),
        }));

        assert_eq!(lone.nodes.len(), 1, "what is looked at");
        assert!(!lone.has_other_nodes(NodeId(1)));
        assert!(lone.has_other_nodes(NodeId(2)));
        assert!(pair.has_other_nodes(NodeId(1)) && pair.has_other_nodes(NodeId(2)));
    }

    #[test]
    fn copies_live_on_distinct_nodes() {
        let ring = HashRing::new((1..4).flat_map(|node| {
            (0..2).map(move |core| Member {
                node: NodeId(node),
                core: CoreId(core),
            })
        }));

        for service in services(100) {
            let owners = ring.owners(&service, 3);

            assert_eq!(owners.len(), 3);
            assert_eq!(owners[0], ring.owner(&service));
            assert!(
                owners[0].node != owners[1].node
                    && owners[1].node != owners[2].node
                    && owners[0].node != owners[2].node
            );
        }
    }
}
