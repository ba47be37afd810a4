"""The study of decoders that differ in their upsampling alone."""

# 'drives': CamVid's own splits share a drive, of which all of val is. Here they do not.
SPLITS: dict[str, dict[str, list[str]]] = {
    'camvid': {},
    'drives': {'train': ['0001TP', '0006R0'], 'val': ['0016E5']},
}
