"""The usage of MAIRA-2's model card, step by step, on one case: published.py FOLDER CASE.json prints the findings."""

import json
import sys

import torch
from PIL import Image
from transformers import AutoModelForCausalLM, AutoProcessor

folder, case = sys.argv[1], json.loads(sys.argv[2])
model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True).eval().to(torch.device("cpu"))
processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
for name in ("current_frontal", "current_lateral", "prior_frontal"):
    case[name] = Image.open(case[name]) if case[name] else None
inputs = processor.format_and_preprocess_reporting_input(**case, return_tensors="pt", get_grounding=False).to("cpu")
with torch.no_grad():
    output = model.generate(**inputs, max_new_tokens=300, use_cache=True)
new = output[0][inputs["input_ids"].shape[-1] :]
text = processor.decode(new, skip_special_tokens=True).lstrip()
print(processor.convert_output_to_plaintext_or_grounded_sequence(text))
