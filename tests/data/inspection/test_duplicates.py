from collections import defaultdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from staff_engine.data.inspection.duplicates import first_of_each, repeated

KEYS = st.lists(st.integers(0, 6).map(lambda key: key * 2**61), max_size=30)


def slow_groups(keys):
    places = defaultdict(list)
    for place, key in enumerate(keys):
        places[key].append(place)
    many = [members for members in places.values() if len(members) > 1]
    return sorted(many, key=lambda members: (-len(members), members[0]))


@given(KEYS)
def test_the_groups_are_those_of_counting_one_by_one_the_greatest_first(keys):
    groups = repeated(np.array(keys, dtype=np.uint64))
    found = [groups.members(group).tolist() for group in range(len(groups))]
    assert found == slow_groups(keys)


@given(KEYS)
def test_each_key_is_named_where_it_stands_first(keys):
    first = [place for place, key in enumerate(keys) if key not in keys[:place]]
    assert first_of_each(np.array(keys, dtype=np.uint64)).tolist() == first
