//! quick
use sim::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let topo = if a[1] == "pw" { Topology::PairWitness } else { Topology::Pair };
    let from: u64 = a[2].parse().unwrap(); let n: u64 = a[3].parse().unwrap();
    if n == 0 {
        let plan = Plan::draw(from, topo, failover::Rules::ALL);
        println!("{plan:#?}");
        let o = run_plan(plan, true);
        for l in &o.story { println!("{l}"); }
        println!("{:?}", o.violation);
        return;
    }
    let mut moves = [[0u64; 23]; 14]; let mut src=[0u64;6];
    let (mut v, mut div, mut op, mut ack) = (0, 0, 0, 0);
    let mut worst = 0;
    for seed in from..from + n {
        let o = run_seed(seed, topo, failover::Rules::ALL);
        ack += o.acknowledged; div += u64::from(o.diverged); op += u64::from(o.needed_operator); worst = worst.max(o.healed_after);
        for (a, b) in moves.iter_mut().flatten().zip(o.moves.iter().flatten()) { *a += b; }
        for (a,b) in src.iter_mut().zip(o.sources) {*a+=b}
        if let Some(x) = o.violation { v += 1; if v < 25 { println!("{seed} {:?} {} @{} {} faults {:?}", o.plan.arbiter, x.invariant, x.at/1000, x.text, kinds(&o.plan)); } }
    }
    println!("histories {n} violations {v} diverged {div} operator {op} acks {ack} worst heal {worst} sources {src:?}");
    for s in failover::State::ALL { for i in failover::Input::ALL { let c = failover::table::transition(s, i); if c.is_some() { print!("{s:?}/{i:?}={} ", moves[s as usize][i as usize]); } } }
    println!();
}
