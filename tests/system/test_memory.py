import weakref

from staff_engine.system.memory import give_back


def test_what_only_refers_to_itself_is_given_back():
    class Thing:
        pass

    thing = Thing()
    thing.itself = thing
    seen = weakref.ref(thing)
    del thing
    give_back()
    assert seen() is None
