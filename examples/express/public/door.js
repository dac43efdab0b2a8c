// The page at the second door.
import { autofillCode, canRemember, recognise, remember } from "/countersign/browser.js";

const device = document.querySelector("[data-step=device]");
if (device) {
  device.elements.signature.value = (await recognise(device.dataset.nonce)) ?? "";
  device.submit();
}

const code = document.querySelector("[data-step=code]");
if (code) {
  autofillCode(code.elements.code);
  code.elements.remember.parentElement.hidden = !canRemember();
  code.addEventListener("submit", async (event) => {
    event.preventDefault();
    const proof = code.elements.remember.checked && (await remember(code.dataset.nonce));
    if (proof) {
      code.elements.public_key.value = proof.public_key;
      code.elements.signature.value = proof.signature;
    }
    code.submit();
  });
}
