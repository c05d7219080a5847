fn main() {
    let f = std::env::args().nth(1).unwrap();
    let t = std::fs::read_to_string(&f).unwrap();
    match seed::parse(&f, &t) {
        Ok(s) => println!("{}", serde_json::to_string_pretty(&s).unwrap()),
        Err(p) => println!("{p}"),
    }
}
