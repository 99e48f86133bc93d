use metadsl::*;
struct O; impl train::Observer for O { fn stepped(&self,_:&str,_:u64,_:u64){} fn measured(&self,_:&str,_:u64,_:&str,_:u64,_:f64){} }
fn main(){
  let a: Vec<String> = std::env::args().collect();
  let mut text=std::fs::read_to_string(&a[1]).unwrap();
  for s in &a[2..] { text.push_str(&format!("\narm zz {{ {s} }}")); }
  let mut sink=diag::Sink::new();
  let mut file=syntax::parse(&text,&mut sink);
  let mut set=vec![];
  for _ in &a[2..] { if let syntax::ast::ItemKind::Arm{fields,..}=file.items.pop().unwrap().kind { set.extend(fields); } }
  let c=lang::compile(&file,&set,&mut sink);
  print!("{}",diag::render(&text,&a[1],&sink.finish(),false));
  let Some(c)=c else {return};
  c.plan.verify().unwrap();
  if std::env::var("PLAN").is_ok() { print!("{}", plan::print::plan(&c.plan)); return; }
  let mut sets=train::DataSets::new();
  for f in &c.files { let d=&c.plan.arms[0].data[0].csv; sets.insert(f.name.clone(), data::read_csv(&std::fs::read(std::path::Path::new("experiments").join(&f.path)).unwrap(), &data::CsvOptions{features:d.first_feature as usize..d.end_feature as usize,label:d.label as usize,scale:d.scale,header:data::Header::Auto}).unwrap()); }
  let mut cells=vec![];
  for arm in &c.plan.arms { for &s in &c.plan.seeds {
    let t=std::time::Instant::now();
    let exec=exec::dfdx::Dfdx::<f32,_>::cpu();
    let cell=train::run_cell(&exec,arm,s,&sets,&O).unwrap();
    let dt=t.elapsed().as_secs_f64();
    print!("{} {} {:?} {:.2}s {:.0}/s ",arm.name,s,cell.status,dt, arm.train.steps as f64/dt);
    for m in &cell.series { print!(" {}:", m.measure); for i in (0..m.steps.len()).step_by((m.steps.len()/6).max(1)) { print!(" [{}]{:.4e}",m.steps[i],m.values[i]); } print!(" last {:.4e}", m.values.last().unwrap()); }
    println!(); cells.push(cell);
  }}
  for cl in &c.plan.claims { let v=cl.evaluate(&|arm,m,st| c.plan.seeds.iter().map(|&s| cells.iter().find(|c|c.arm==arm&&c.seed==s).unwrap().series.iter().find(|x|x.measure==m).unwrap().at(st)).collect()); println!("{} {cl} {} {}", v.holds,v.left,v.right); }
}
