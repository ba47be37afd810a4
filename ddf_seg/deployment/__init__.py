"""A trained network as a file that other runtimes run.

- `decompositions`: our operators in what every runtime knows
- `network`: image in, class ids out, all within one graph
- `exporting`: that graph as ONNX, OpenVINO's IR or torch's own program
"""
