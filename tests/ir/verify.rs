//! Malformed programs are refused, each for its own reason.

use metadsl::exec::reference::Reference;
use metadsl::exec::{ExecError, Executor, Precision};
use metadsl::ir::{Function, Node, NodeId, Op, Port, Real, Unary, VerifyError};

/// `y = -x` for `x: [2]`.
fn negation() -> Function {
    let node = |op, args: &[usize]| Node { op, args: args.iter().map(|&a| NodeId::new(a)).collect(), dims: vec![2] };
    Function {
        name: "negation".into(),
        inputs: vec![Port { name: "x".into(), node: NodeId::new(0) }],
        nodes: vec![node(Op::Input { index: 0, dims: vec![2] }, &[]), node(Op::Unary { f: Unary::Neg }, &[0])],
        outputs: vec![Port { name: "y".into(), node: NodeId::new(1) }],
    }
}

/// The verdict on the negation after a change.
fn verdict(change: impl FnOnce(&mut Function)) -> Result<(), VerifyError> {
    let mut f = negation();
    change(&mut f);
    f.verify()
}

#[test]
fn the_unchanged_program_is_accepted() {
    assert_eq!(verdict(|_| ()), Ok(()));
}

#[test]
fn an_operand_that_does_not_come_before_its_user() {
    for arg in [1, 2, 900] {
        let found = verdict(|f| f.nodes[1].args[0] = NodeId::new(arg));
        assert_eq!(found, Err(VerifyError::Order { node: 1, arg }));
    }
}

#[test]
fn a_broken_shape_rule() {
    let missing = verdict(|f| f.nodes[1].args.clear());
    assert!(matches!(missing, Err(VerifyError::Shape { node: 1, .. })), "{missing:?}");
    let axis = verdict(|f| f.nodes[1].op = Op::Slice { axis: 1, start: 0, len: 2 });
    assert!(matches!(axis, Err(VerifyError::Shape { node: 1, .. })), "{axis:?}");
    let end = verdict(|f| f.nodes[1].op = Op::Slice { axis: 0, start: usize::MAX, len: 2 });
    assert!(matches!(end, Err(VerifyError::Shape { node: 1, .. })), "{end:?}");
    let order = verdict(|f| f.nodes[1].op = Op::Permute { order: vec![0, 0] });
    assert!(matches!(order, Err(VerifyError::Shape { node: 1, .. })), "{order:?}");
    let size = verdict(|f| f.nodes[1].op = Op::Broadcast { axis: 0, size: usize::MAX });
    assert!(matches!(size, Err(VerifyError::Shape { node: 1, .. })), "{size:?}");
}

#[test]
fn a_stored_shape_that_is_not_the_operations() {
    let found = verdict(|f| f.nodes[1].dims = vec![3]);
    assert_eq!(found, Err(VerifyError::Dims { node: 1, stored: vec![3], found: vec![2] }));
}

#[test]
fn ports_that_name_no_fitting_node() {
    assert_eq!(verdict(|f| f.outputs[0].node = NodeId::new(2)), Err(VerifyError::Port("y".into())));
    assert_eq!(verdict(|f| f.inputs[0].node = NodeId::new(1)), Err(VerifyError::Port("x".into())));
    assert_eq!(verdict(|f| f.inputs[0].node = NodeId::new(9)), Err(VerifyError::Port("x".into())));
    assert_eq!(verdict(|f| f.inputs.clear()), Err(VerifyError::Port("node 0".into())));
    assert_eq!(verdict(|f| f.inputs.push(f.inputs[0].clone())), Err(VerifyError::Port("x".into())));
}

#[test]
fn a_second_reader_of_an_input() {
    // It might claim another shape than the one arguments are checked against.
    let found =
        verdict(|f| f.nodes[1] = Node { op: Op::Input { index: 0, dims: vec![5] }, args: vec![], dims: vec![5] });
    assert_eq!(found, Err(VerifyError::Port("node 1".into())));
}

#[test]
fn an_executor_refuses_a_malformed_program() {
    let mut f = negation();
    f.nodes[1] = Node { op: Op::Const { value: Real(1.0) }, args: vec![], dims: vec![2] };
    let error = Reference::new(Precision::F64).compile(&f).expect_err("the shape of a constant is []");
    assert!(matches!(&error, ExecError::Malformed { function, .. } if function == "negation"), "{error}");
}
