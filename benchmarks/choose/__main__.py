"""All benches of choosing on tables of real models, one after another: about half an hour on one core.

python -m benchmarks.choose
"""

from __future__ import annotations

from benchmarks.choose import equal, few_items, items, new_task, seeds, tuning, whole

for bench in (tuning, items, equal, whole, seeds, new_task, few_items):
    print(f"\n## {bench.__name__}\n\n{(bench.__doc__ or '').splitlines()[0]}\n", flush=True)
    bench.main()
