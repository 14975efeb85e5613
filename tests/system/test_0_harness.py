"""The harness itself: how it takes the console's text apart."""

from bulkhead import CORE_SOURCE, Machine, config, modules_of, vm


def fed(text, *names):
    machine = Machine.__new__(Machine)
    machine.reset(config(*[vm(name) for name in names]))
    machine.take(text)
    return machine


def test_lines_have_their_sources():
    m = fed("[    0.000001] info  hello\r\na| one\r\nb| x\r\na| two\r\n", "a", "b")
    assert m.output_of("a") == ["one", "two"]
    assert m.output_of("b") == ["x"]
    assert m.output_of(CORE_SOURCE) == ["[    0.000001] info  hello"]


def test_bars_in_other_lines_are_no_prefix():
    m = fed("c| one\na| x| y\n", "a")
    assert m.output_of(CORE_SOURCE) == ["c| one"]
    assert m.output_of("a") == ["x| y"]


def test_interrupted_line_stands_once():
    m = fed("a| linux:/# unam\nb| other\na| linux:/# uname -r\na| 6.1\n", "a", "b")
    assert m.output_of("a") == ["linux:/# uname -r", "6.1"]


def test_line_repeated_by_the_vm_stands_twice():
    m = fed("a| tick\nb| x\na| tick\na| tick\n", "a", "b")
    assert m.output_of("a") == ["tick", "tick", "tick"]


def test_unfinished_line_is_seen():
    m = fed("a| one\na| linux:/# ", "a")
    assert m.expect(r":/# $", timeout=0, source="a", partial=True)
    m.take("\x1b[6n")
    assert m.expect(r":/# $", timeout=0, source="a", partial=True)


def test_expect_goes_on_behind_the_last_match():
    m = fed("a| count 1\na| count 2\n", "a")
    assert m.expect(r"count (\d)", timeout=0).group(1) == "1"
    assert m.expect(r"count (\d)", timeout=0).group(1) == "2"


def test_modules_of_a_configuration():
    names = [path.rsplit("/", 1)[-1] for path in modules_of(config(vm("a"), vm("b"), vm("c", "spin.img")))]
    assert names == ["vmlinuz", "guest.cpio.gz", "spin.img"]
