"""mmseg's own train.py and test.py, with our checks between config and runner.

- `mmseg_tool`: runs one of them; interruptions and full disks become a message
- `runners`: checks what a config needs, and builds its runner
- `scoring`: a config's test part, for what tools/test.py is asked for
- `console`: which of mmengine's messages reach the screen
"""
