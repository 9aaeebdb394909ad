// Sends the answer without a click. Where scripts do not run, the button does it.
document.getElementById("send").submit();
